"""What `voxray retrieve` prints: passages with their scores by stage, and the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import rich.box
from rich.table import Table

from cluster.bench.figures import Spread
from deployments.engines.milvus_retriever import RetrievalReport
from deployments.retrieval.evaluation import RANKS, StageFigures


def explanation_table(report: RetrievalReport) -> Table:
    """Return one row per passage: its place and score at each stage, "-" where the stage did not find it."""
    table = Table(box=rich.box.SIMPLE_HEAD)
    for title in ("", "passage", "source", "date"):
        table.add_column(title, overflow="fold")
    for title in ("fused", "meaning", "words", "rerank", "matched"):
        table.add_column(title, justify="right")
    for number, passage in enumerate(report.passages, start=1):
        stages = passage.stages
        table.add_row(
            str(number),
            passage.title,
            passage.source,
            passage.updated_at,
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
        parts.append("one search was not waited for")
    parts.append(f"{report.duplicates} duplicate(s) left out")
    return f"{report.collection}: {'; '.join(parts)}"


def evaluation_table(stages: Sequence[StageFigures]) -> Table:
    """Return one row per stage: quality, then times in ms."""
    table = Table(box=rich.box.SIMPLE_HEAD)
    table.add_column("stage")
    times = ("embed p50 / p95 ms", "search p50 / p95 / p99 ms", "rerank p50 / p95 ms")
    for title in (*(f"recall@{k}" for k in RANKS), "MRR", "nDCG@10", *times):
        table.add_column(title, justify="right")
    for stage in stages:
        table.add_row(
            stage.stage,
            *(f"{stage.recall[k]:.3f}" for k in RANKS),
            f"{stage.mrr:.3f}",
            f"{stage.ndcg:.3f}",
            _two(stage.embed_ms),
            f"{_two(stage.search_ms)} / {stage.search_ms.p99:.1f}" if stage.search_ms else "-",
            _two(stage.rerank_ms),
        )
    return table


def _two(times: Spread | None) -> str:
    return f"{times.p50:.1f} / {times.p95:.1f}" if times else "-"
