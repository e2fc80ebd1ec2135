"""Measures how well and how fast each stage of retrieval finds relevant passages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

from cluster.bench.figures import Spread, spread
from deployments.engines.milvus.retriever import RetrievalReport
from ingest_jobs.measuring.retrieval.questions import RetrievalQuestion
from pipelines.ports import RetrievalQuery
from pipelines.retrieval.measures import ndcg_at, recall_at, reciprocal_rank

RANKS = (1, 3, 5, 10)
DEPTH = max(RANKS)
_PATIENT_MS = 60_000


class Reporting(Protocol):
    """The part of `MilvusRetriever` needed for measuring."""

    async def report(self, query: RetrievalQuery) -> RetrievalReport:
        """Search, and report how it went."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one question: marks of its passages (see `RetrievalQuestion.marks`) and times in ms."""

    question: RetrievalQuestion
    marks: tuple[bool, ...]
    embed_ms: float | None
    search_ms: float
    rerank_ms: float


@dataclass(frozen=True, slots=True)
class StageFigures:
    """The figures of one stage over all questions. `embed_ms` covers only questions whose vector was not cached."""

    stage: str
    questions: int
    recall: dict[int, float]
    mrr: float
    ndcg: float
    embed_ms: Spread | None
    search_ms: Spread | None
    rerank_ms: Spread | None


async def find_all(
    retriever: Reporting, questions: Sequence[RetrievalQuestion], tenant: str, on_found: Callable[[], None]
) -> list[Found]:
    """Ask all questions, one after the other."""
    results: list[Found] = []
    for question in questions:
        report = await retriever.report(RetrievalQuery(tenant, question.question, DEPTH, _PATIENT_MS))
        timing = report.timing
        embed_ms = None if timing.is_cached else timing.embed_ms
        marks = tuple(question.marks(report.passages))
        results.append(Found(question, marks, embed_ms, timing.search_ms, timing.rerank_ms))
        on_found()
    return results


def figures(stage: str, results: Sequence[Found]) -> StageFigures:
    """Average the results of one stage, of which there must be at least one."""
    return StageFigures(
        stage=stage,
        questions=len(results),
        recall={k: fmean(recall_at(k, r.marks, r.question.relevant) for r in results) for k in RANKS},
        mrr=fmean(reciprocal_rank(r.marks) for r in results),
        ndcg=fmean(ndcg_at(DEPTH, r.marks, r.question.relevant) for r in results),
        embed_ms=spread([r.embed_ms for r in results if r.embed_ms is not None]),
        search_ms=spread([r.search_ms for r in results]),
        rerank_ms=spread([r.rerank_ms for r in results if r.rerank_ms]),
    )


def recall_by_kind(results: Sequence[Found], k: int) -> dict[str, float]:
    """Return the mean recall@k of each kind of question, in the order in which the kinds appear."""
    kinds = dict.fromkeys(result.question.kind for result in results)
    return {
        kind: fmean(recall_at(k, r.marks, r.question.relevant) for r in results if r.question.kind == kind)
        for kind in kinds
    }


def missed(results: Sequence[Found], k: int) -> list[dict[str, Any]]:
    """Return the questions without a relevant passage in the first `k`, with the `rank` of the first one found."""
    return [
        {
            "id": r.question.id,
            "question": r.question.question,
            "rank": r.marks.index(True) + 1 if any(r.marks) else None,
        }
        for r in results
        if not any(r.marks[:k])
    ]
