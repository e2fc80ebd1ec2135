"""The order of stages, what is done when one is late or fails, and what is told of it. The searches are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.engines.milvus import MilvusSettings
from deployments.engines.milvus.retriever import MilvusRetriever, RetrievalTiming, Stage
from deployments.engines.milvus.schema import pack_vectors
from deployments.engines.milvus.searches import Hit
from pipelines.errors import EngineError
from pipelines.language.en.sentences import sentences
from pipelines.ports import RetrievalQuery

pytestmark = pytest.mark.unit

UNIT = np.array([1.0, 0.0], np.float32)
NEVER = 3600.0


class CountingEncoder:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        self.texts += texts
        return np.stack([UNIT for _ in texts])


class ScriptedSearches:
    """Stands in the place of `MilvusSearches`; a delay of NEVER is a search that does not come back."""

    def __init__(self, meaning: Sequence[Hit] | Exception, words: Sequence[Hit] | Exception) -> None:
        self.answers = {"meaning": meaning, "words": words}
        self.delays = {"meaning": 0.0, "words": 0.0}
        self.collections: list[str] = []

    async def live_collection(self, alias: str = "") -> str:
        return "knowledge_v1"

    async def by_meaning(self, collection: str, query: RetrievalQuery, vector: object, n: int) -> list[Hit]:
        return await self._answer("meaning", collection)

    async def by_words(self, collection: str, query: RetrievalQuery, terms: str, n: int) -> list[Hit]:
        return await self._answer("words", collection)

    async def aclose(self) -> None:
        pass

    async def _answer(self, name: str, collection: str) -> list[Hit]:
        self.collections.append(collection)
        if self.delays[name]:
            await asyncio.wait_for(asyncio.Event().wait(), self.delays[name])
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return list(answer)


class ShortestFirst:
    def score(self, question: str, texts: list[str]) -> list[float]:
        return [1.0 / len(text) for text in texts]


def hit(text: str, score: float = 1.0, updated_at: str = "") -> Hit:
    packed = pack_vectors(np.stack([UNIT for _ in sentences(text)]))
    row = {"text": text, "source": "s.md", "title": "T", "updated_at": updated_at, "sentence_vectors": packed}
    return Hit(text, score, {**row, "dense": UNIT.tolist()})


A, B, C = (
    hit("Tents are warm and last for many years.", 0.9),
    hit("Boots are dry."),
    hit("Ropes hold a fall of six feet."),
)


@pytest.fixture
async def retriever() -> AsyncIterator[MilvusRetriever]:
    opened = MilvusRetriever("http://127.0.0.1:1", "knowledge", CountingEncoder(), settings=MilvusSettings())
    yield opened
    await opened.aclose()


def ask(text: str = "tents", limit: int = 3, budget_ms: int = 10_000, tenant: str = "alpha") -> RetrievalQuery:
    return RetrievalQuery(tenant, text, limit, budget_ms)


async def test_lists_are_fused_and_each_stage_is_told(retriever: MilvusRetriever) -> None:
    searches = ScriptedSearches([A, B], [B, C])
    retriever._searches = searches  # type: ignore[assignment]
    report = await retriever.report(ask())
    assert [p.text for p in report.passages] == [B.row["text"], A.row["text"], C.row["text"]]
    first = report.passages[0].stages
    assert (first.meaning_rank, first.words_rank, first.rerank) == (2, 1, None)
    assert not report.timing.is_partial
    assert searches.collections == ["knowledge_v1"] * 2
    assert report.collection == "knowledge_v1"


@pytest.mark.parametrize(("late", "left"), [("words", [A, B]), ("meaning", [B, C])])
async def test_late_search_is_left_out(retriever: MilvusRetriever, late: str, left: list[Hit]) -> None:
    searches = ScriptedSearches([A, B], [B, C])
    searches.delays[late] = NEVER
    retriever._searches = searches  # type: ignore[assignment]
    report = await retriever.report(ask(budget_ms=500))
    assert [p.text for p in report.passages] == [h.row["text"] for h in left]
    assert report.timing.is_partial


async def test_failed_search_is_left_out(retriever: MilvusRetriever) -> None:
    failure = EngineError("retriever", "down", retryable=True)
    retriever._searches = ScriptedSearches(failure, [C])  # type: ignore[assignment]
    report = await retriever.report(ask())
    assert [p.text for p in report.passages] == [C.row["text"]]
    assert report.timing.is_partial


async def test_wrong_request_is_raised_though_the_other_search_has_an_answer(retriever: MilvusRetriever) -> None:
    wrong = EngineError("retriever", "no such date", retryable=False)
    retriever._searches = ScriptedSearches(wrong, [])  # type: ignore[assignment]
    with pytest.raises(EngineError, match="no such date"):
        await retriever.search(ask())


async def test_failure_of_both_searches_is_raised(retriever: MilvusRetriever) -> None:
    failure = EngineError("retriever", "down", retryable=True)
    retriever._searches = ScriptedSearches(failure, failure)  # type: ignore[assignment]
    with pytest.raises(EngineError, match="down"):
        await retriever.search(ask())


async def test_nothing_in_time_is_an_error_and_is_counted() -> None:
    timings: list[RetrievalTiming] = []
    retriever = MilvusRetriever(
        "http://127.0.0.1:1", "k", CountingEncoder(), settings=MilvusSettings(), on_timing=timings.append
    )
    searches = ScriptedSearches([A], [B])
    searches.delays.update(meaning=NEVER, words=NEVER)
    retriever._searches = searches  # type: ignore[assignment]
    with pytest.raises(EngineError) as failure:
        await retriever.search(ask(budget_ms=40))
    assert failure.value.retryable
    assert [t.is_over_budget for t in timings] == [True]
    await retriever.aclose()


async def test_vector_is_kept_for_its_tenant_alone(retriever: MilvusRetriever) -> None:
    retriever._searches = ScriptedSearches([A], [])  # type: ignore[assignment]
    cached = [(await retriever.report(ask(tenant=tenant))).timing.is_cached for tenant in ("alpha", "alpha", "beta")]
    assert cached == [False, True, False]
    encoder = retriever._encoder
    assert isinstance(encoder, CountingEncoder)
    assert encoder.texts == ["tents", "tents"]


@pytest.mark.parametrize(("stage", "expected"), [("meaning", [A, B]), ("words", [B, C])])
async def test_stage_alone_asks_one_search(stage: str, expected: list[Hit]) -> None:
    settings, alone = MilvusSettings(), cast("Stage", stage)
    retriever = MilvusRetriever("http://127.0.0.1:1", "k", CountingEncoder(), settings=settings, stage=alone)
    retriever._searches = ScriptedSearches([A, B], [B, C])  # type: ignore[assignment]
    report = await retriever.report(ask())
    assert [p.text for p in report.passages] == [h.row["text"] for h in expected]
    assert not report.timing.is_partial
    await retriever.aclose()


async def test_reranker_orders_the_first_passages_anew() -> None:
    settings = MilvusSettings(rerank_candidates=2)
    retriever = MilvusRetriever(
        "http://127.0.0.1:1", "k", CountingEncoder(), settings=settings, reranker=ShortestFirst()
    )
    retriever._searches = ScriptedSearches([A, B, C], [])  # type: ignore[assignment]
    report = await retriever.report(ask())
    assert [p.text for p in report.passages] == [h.row["text"] for h in (B, A, C)]
    assert [p.stages.rerank is not None for p in report.passages] == [True, True, False]
    assert report.timing.rerank_ms > 0
    await retriever.aclose()


async def test_passage_that_repeats_another_is_left_out(retriever: MilvusRetriever) -> None:
    newer = hit("Boots  are dry!", updated_at="2026-05-01")
    retriever._searches = ScriptedSearches([B, newer, C], [])  # type: ignore[assignment]
    report = await retriever.report(ask())
    assert [(p.text, p.updated_at) for p in report.passages] == [("Boots  are dry!", "2026-05-01"), (C.row["text"], "")]
    assert report.duplicates == 1
