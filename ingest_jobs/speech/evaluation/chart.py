"""Plots the WER by engine and condition, with intervals, as an SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingest_jobs.speech.evaluation.measuring import Report
from ingest_jobs.speech.evaluation.scoring import ErrorRate

_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756")


class PlotsMissing(RuntimeError):
    """matplotlib is not installed."""


def conditions(report: Report) -> dict[str, ErrorRate]:
    """Return the bars of a report: all recordings, then every value of the tags noise, band and voice_seen."""
    bars = {"all": report.wer}
    for tag, title in (("noise", "noise"), ("band", "band"), ("voice_seen", "voice seen")):
        bars |= {f"{title}: {value}": rate for value, rate in report.groups.get(tag, {}).items()}
    return bars


def plot(reports: Sequence[Report], file: Path) -> None:
    """Draw the WER of every engine in every condition.

    Raises:
        PlotsMissing: matplotlib is not installed.
    """
    pyplot = _pyplot()
    names = list(dict.fromkeys(name for report in reports for name in conditions(report)))
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.28 * len(names) * (len(reports) + 1)))
    thickness = 0.8 / len(reports)
    for index, report in enumerate(reports):
        bars = conditions(report)
        for place, name in enumerate(names):
            if (rate := bars.get(name)) is None:
                continue
            y = -place - (index - (len(reports) - 1) / 2) * thickness
            ends = [[100 * (rate.value - rate.low)], [100 * (rate.high - rate.value)]]
            label = report.engine if place == 0 else None
            colour = _COLOURS[index % len(_COLOURS)]
            axes.barh(y, 100 * rate.value, thickness, xerr=ends, color=colour, label=label, error_kw={"linewidth": 0.8})
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.set_xlabel("word error rate in % (95% interval)")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise PlotsMissing("plots need matplotlib: `make develop` installs it") from error
    return pyplot
