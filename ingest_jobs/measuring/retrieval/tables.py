"""The output of `voxray retrieve`: passages with their scores by stage, and the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import rich.box
from rich.table import Table

from cluster.bench.figures import Spread
from deployments.engines.milvus.retriever import RetrievalReport
from ingest_jobs.measuring.retrieval.evaluation import RANKS, StageFigures


def explanation_table(report: RetrievalReport) -> Table:
    """Return one row per passage with its place and score at each stage, or "-" if the stage did not find it."""
    table = Table(box=rich.box.SIMPLE_HEAD)
    for title in ("", "passage", "source"):
        table.add_column(title, overflow="fold")
    for title in ("fused", "meaning", "words", "rerank", "terms"):
        table.add_column(title, justify="right", no_wrap=True)
    for number, passage in enumerate(report.passages, start=1):
        stages = passage.stages
        table.add_row(
            str(number),
            passage.title,
            passage.source,
            f"{passage.score:.4f}",
            _place(stages.meaning_rank, f"{passage.similarity:.3f}"),
            _place(stages.words_rank, f"{stages.words:.2f}"),
            "-" if stages.rerank is None else f"{stages.rerank:.3f}",
            f"{passage.matched_terms:.0%}",
        )
    return table


def _place(rank: int, score: str) -> str:
    return f"#{rank}  {score}" if rank else "-"


def timing_line(report: RetrievalReport) -> str:
    """Return the times of one search in one line."""
    timing = report.timing
    parts = [
        f"embedding {timing.embed_ms:.1f} ms{' (known)' if timing.is_cached else ''}",
        f"search {timing.search_ms:.1f} ms (meaning {timing.meaning_ms:.1f}, words {timing.words_ms:.1f}, at once)",
    ]
    if timing.rerank_ms:
        parts.append(f"rerank {timing.rerank_ms:.1f} ms")
    if timing.is_partial:
        parts.append("one search was too late")
    parts.append(f"{report.duplicates} duplicate(s) left out")
    return f"{report.collection}: {'; '.join(parts)}"


def quality_table(stages: Sequence[StageFigures]) -> Table:
    """Return one row per stage with its recall, MRR and nDCG."""
    table = _table_of_stages(*(f"recall@{k}" for k in RANKS), "MRR", "nDCG@10")
    for stage in stages:
        recall = (f"{stage.recall[k]:.3f}" for k in RANKS)
        table.add_row(stage.stage, *recall, f"{stage.mrr:.3f}", f"{stage.ndcg:.3f}")
    return table


def latency_table(stages: Sequence[StageFigures]) -> Table:
    """Return one row per stage with p50 / p95 / p99 in ms. Search times exclude embedding and reranking."""
    table = _table_of_stages("embed, ms", "search, ms", "rerank, ms")
    for stage in stages:
        table.add_row(stage.stage, _times(stage.embed_ms), _times(stage.search_ms), _times(stage.rerank_ms))
    return table


def _table_of_stages(*titles: str) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD)
    table.add_column("stage", no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _times(times: Spread | None) -> str:
    return f"{times.p50:.1f} / {times.p95:.1f} / {times.p99:.1f}" if times else "-"
