"""A bar chart of recall and latency by stage as an SVG file, which is simple enough to need no plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ingest_jobs.measuring.retrieval.evaluation import StageFigures

_WIDTH, _ROW, _TOP, _LABEL, _BAR = 760, 26, 44, 110, 240
_COLOURS = ("#4c78a8", "#f58518", "#54a24b")


def chart(stages: Sequence[StageFigures]) -> str:
    """Return the SVG text, with recall@1, recall@5 and nDCG@10 (0 to 1) on the left and p50 and p95 on the right."""
    slowest = max((s.search_ms.p95 for s in stages if s.search_ms), default=1.0)
    parts = [
        _text(_LABEL, 20, "recall@1, recall@5, nDCG@10", is_bold=True),
        _text(_LABEL + _BAR + 100, 20, "search, p50 and p95 in ms", is_bold=True),
    ]
    for number, stage in enumerate(stages):
        top = _TOP + number * (3 * _ROW + 14)
        parts.append(_text(0, top + 2 * _ROW - 8, stage.stage, is_bold=True))
        for place, value in enumerate((stage.recall[1], stage.recall[5], stage.ndcg)):
            parts.append(_bar(_LABEL, top + place * _ROW, value, f"{value:.3f}", _COLOURS[place]))
        if stage.search_ms:
            for place, ms in enumerate((stage.search_ms.p50, stage.search_ms.p95)):
                share = ms / max(slowest, 1e-9)
                parts.append(_bar(_LABEL + _BAR + 100, top + place * _ROW, share, f"{ms:.1f}", _COLOURS[place]))
    height = _TOP + len(stages) * (3 * _ROW + 14)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13">\n{"".join(parts)}</svg>\n'
    )


def _text(x: float, y: float, text: str, *, is_bold: bool = False) -> str:
    weight = ' font-weight="bold"' if is_bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{weight}>{escape(text)}</text>\n'


def _bar(x: float, y: float, share: float, label: str, colour: str) -> str:
    """Return a bar of `share` (0 to 1) of the full width, followed by its label."""
    width = max(1.0, share * _BAR)
    bar = f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.1f}" height="{_ROW - 6}" fill="{colour}"/>\n'
    return bar + _text(x + width + 6, y + _ROW - 11, label)
