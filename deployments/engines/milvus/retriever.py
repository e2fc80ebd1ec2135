"""Hybrid retrieval from Milvus, always inside one tenant.

    question ──> vector ──> by meaning ─┐
        └──────> terms ───> by words ───┴─> fuse by rank ─> drop duplicates ─> rerank (if configured) ─> first `limit`

All of it shares one time budget. When that is nearly spent, a search that has returned is used alone, and if the
cross-encoder is late the fused order is kept. Only when no search has returned is there no result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.engines.embedding.cache import EmbeddingCache
from deployments.engines.milvus import MilvusSettings
from deployments.engines.milvus.schema import search_terms
from deployments.engines.milvus.searches import Hit, MilvusSearches, passage_of
from pipelines.agents.definition import DEFAULT_TENANT
from pipelines.errors import Component, EngineError
from pipelines.ports import Passage, RetrievalQuery, StageScores
from pipelines.retrieval.duplicates import first_distinct
from pipelines.retrieval.fusion import RRF_K, fuse_rankings

Stage = Literal["hybrid", "meaning", "words"]
# A search that finds nothing warms the connection as well as one that does.
_PROBE_MS = 10_000
# The part of the budget reserved for fusing, comparing and the way back, which the searches may not use.
_RESERVE = 0.1


class QueryEncoder(Protocol):
    """Turns texts into unit vectors. Blocking; called from one thread at a time."""

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return one L2-normalised vector per text."""


class Reranker(Protocol):
    """Judges question and passage together. Blocking; called from one thread at a time."""

    def score(self, question: str, texts: list[str]) -> list[float]:
        """Return the probability (0.0 to 1.0) that each text answers the question."""


@dataclass(frozen=True, slots=True)
class RetrievalTiming:
    """How long one search took, in ms. A stage that did not run has 0.

    Attributes:
        embed_ms: time for the question's vector, from the cache or the encoder.
        meaning_ms, words_ms: time of each of the two searches, which run concurrently.
        search_ms: time from the vector to the fused list.
        is_cached: whether the vector came from the cache.
        is_partial: whether one of the two searches was abandoned because it was late.
        is_over_budget: whether nothing was found in time.
    """

    embed_ms: float
    search_ms: float
    meaning_ms: float = 0.0
    words_ms: float = 0.0
    rerank_ms: float = 0.0
    is_cached: bool = False
    is_partial: bool = False
    is_over_budget: bool = False


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """The passages and how they were found.

    `duplicates` counts passages dropped because an earlier one says the same.
    """

    passages: tuple[Passage, ...]
    timing: RetrievalTiming
    collection: str
    duplicates: int = 0


@dataclass(slots=True)
class _Search:
    """One search in progress. Times are in seconds of `time.perf_counter`, and `ended` holds them by stage."""

    query: RetrievalQuery
    started: float
    embedded: float = 0.0
    is_cached: bool = False
    stage_ms: dict[str, float] = field(default_factory=dict)

    def left_s(self, reserve: float) -> float:
        """Return the seconds left of the budget, at least 0, after keeping back a share (`reserve`) of it."""
        return max(self.started + self.query.budget_ms * (1 - reserve) / 1000 - time.perf_counter(), 0.0)

    def timing(self, *, fused: float, is_partial: bool = False, is_over_budget: bool = False) -> RetrievalTiming:
        embedded = self.embedded or fused
        return RetrievalTiming(
            embed_ms=(embedded - self.started) * 1e3,
            search_ms=(fused - embedded) * 1e3,
            meaning_ms=self.stage_ms.get("meaning", 0.0),
            words_ms=self.stage_ms.get("words", 0.0),
            rerank_ms=self.stage_ms.get("rerank", 0.0),
            is_cached=self.is_cached,
            is_partial=is_partial,
            is_over_budget=is_over_budget,
        )


class MilvusRetriever:
    """`pipelines.ports.Retriever` over the collection behind an alias. One instance per event loop.

    Args:
        uri: address of the Milvus server.
        alias: alias of the live collection. Moving it takes effect with the next search.
        encoder: embeds questions; runs in a thread of its own, so the event loop never waits for it.
        token: credential, "" for none.
        settings: how many candidates are used and how many vectors are cached.
        stage: runs both searches, or only one of them for measurements.
        reranker: judges the first passages again, in the encoder's thread; None keeps the fused order.
        on_timing: called on the event loop's thread after each search, for metrics.
        version: the collection to search instead of the live one; "" searches the live one.
    """

    def __init__(
        self,
        uri: str,
        alias: str,
        encoder: QueryEncoder,
        *,
        token: str = "",
        settings: MilvusSettings,
        stage: Stage = "hybrid",
        reranker: Reranker | None = None,
        on_timing: Callable[[RetrievalTiming], None] | None = None,
        version: str = "",
    ) -> None:
        self._searches = MilvusSearches(uri, alias, token=token, version=version)
        self._encoder = encoder
        self._settings = settings
        self._stage = stage
        self._reranker = reranker
        self._on_timing = on_timing or (lambda _: None)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="query-encoder")
        self._cache = EmbeddingCache(self._settings.cached_vectors)

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        """Return the tenant's nearest passages, best first. Cancelling it gives up the request.

        Raises:
            EngineError: Milvus or the encoder failed, or `budget_ms` ran out (retryable). An empty list would instead
                claim that nothing matches, and the caller would hear a false refusal.
        """
        return list((await self.report(query)).passages)

    async def report(self, query: RetrievalQuery) -> RetrievalReport:
        """Search as `search` does, and also report how it went. `Passage.stages` has the scores of each stage."""
        search = _Search(query, time.perf_counter())
        try:
            async with asyncio.timeout(query.budget_ms / 1000):
                collection, vector = await self._prepared(search)
                lists = await self._lists(search, collection, vector)
        except TimeoutError as error:
            self._on_timing(search.timing(fused=time.perf_counter(), is_over_budget=True))
            raise EngineError(Component.RETRIEVER, f"no answer within {query.budget_ms} ms", retryable=True) from error
        # What has arrived is used even when the time is up, since ranking it takes only a few ms.
        report = await self._ranked(search, collection, vector, lists)
        self._on_timing(report.timing)
        return report

    def warm_up(self) -> None:
        """Run the encoder, and the cross-encoder if there is one, once. Blocks."""
        self._encoder.encode(["warm up"])
        if self._reranker is not None:
            self._reranker.score("warm up", ["warm up"])

    async def probe(self) -> None:
        """Search once. A store in which nothing has been indexed yet also passes.

        Raises:
            EngineError: Milvus cannot be reached, or is too slow.
        """
        query = RetrievalQuery(DEFAULT_TENANT, "warm up", limit=1, budget_ms=_PROBE_MS)
        try:
            await self.search(query)
        except EngineError as error:
            if error.retryable:
                raise

    async def aclose(self) -> None:
        """Close the connection and the encoder's thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        await self._searches.aclose()

    async def _prepared(self, search: _Search) -> tuple[str, NDArray[np.float32]]:
        """Return the name of the live collection and the question's vector."""
        vectoring = asyncio.create_task(self._vector(search))
        try:
            collection = await self._searches.live_collection(search.query.alias)
            vector = await vectoring
        finally:
            vectoring.cancel()
        search.embedded = time.perf_counter()
        return collection, vector

    async def _ranked(
        self, search: _Search, collection: str, vector: NDArray[np.float32], lists: dict[str, list[Hit]]
    ) -> RetrievalReport:
        """Fuse the lists, drop duplicates, and let the cross-encoder judge if there is one."""
        query = search.query
        wanted = max(query.limit, self._settings.rerank_candidates if self._reranker else 0)
        passages, duplicates = first_distinct(_fused(lists, query.text, vector, RRF_K), wanted)
        fused = time.perf_counter()
        if self._reranker is not None:
            passages = await self._reranked(search, passages)
        stages = {"meaning", "words"} if self._stage == "hybrid" else {self._stage}
        timing = search.timing(fused=fused, is_partial=not stages <= set(lists))
        return RetrievalReport(tuple(passages[: query.limit]), timing, collection, duplicates)

    async def _vector(self, search: _Search) -> NDArray[np.float32]:
        query = search.query
        known = self._cache.get(query.tenant, query.text)
        search.is_cached = known is not None
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        vectors: NDArray[np.float32] = await loop.run_in_executor(self._thread, self._encoder.encode, [query.text])
        vector: NDArray[np.float32] = vectors[0]
        self._cache.put(query.tenant, query.text, vector)
        return vector

    async def _lists(self, search: _Search, collection: str, vector: NDArray[np.float32]) -> dict[str, list[Hit]]:
        """Run the searches concurrently and return the lists that arrived in time, of which there is at least one."""
        query, n = search.query, max(self._settings.candidates, search.query.limit)
        running: dict[str, asyncio.Task[list[Hit]]] = {}
        if self._stage != "words":
            asked = self._searches.by_meaning(collection, query, vector, n)
            running["meaning"] = asyncio.create_task(_timed(search, "meaning", asked))
        if self._stage != "meaning":
            asked = self._searches.by_words(collection, query, search_terms(query.text), n)
            running["words"] = asyncio.create_task(_timed(search, "words", asked))
        try:
            await asyncio.wait(running.values(), timeout=search.left_s(_RESERVE))
            if not any(task.done() for task in running.values()):
                await asyncio.wait(running.values(), return_when=asyncio.FIRST_COMPLETED)
            return _results({name: task for name, task in running.items() if task.done()})
        finally:
            for task in running.values():
                task.cancel()

    async def _reranked(self, search: _Search, passages: list[Passage]) -> list[Passage]:
        """Order the first passages by the cross-encoder's probability, or keep their order when it is late."""
        assert self._reranker is not None
        first = passages[: self._settings.rerank_candidates]
        texts = [f"{passage.title}. {passage.text}" for passage in first]
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        scoring = loop.run_in_executor(self._thread, self._reranker.score, search.query.text, texts)
        try:
            async with asyncio.timeout(search.left_s(_RESERVE / 2)):
                scores = await scoring
        except TimeoutError:
            return passages
        search.stage_ms["rerank"] = (time.perf_counter() - started) * 1e3
        judged = [
            replace(passage, stages=replace(passage.stages, rerank=score))
            for passage, score in zip(first, scores, strict=True)
        ]
        judged.sort(key=lambda passage: -(passage.stages.rerank or 0.0))
        return [*judged, *passages[len(first) :]]


def _results(ended: dict[str, asyncio.Task[list[Hit]]]) -> dict[str, list[Hit]]:
    """Return the lists of the searches that did not fail.

    Raises:
        EngineError: all searches failed, or one failed because of a malformed filter or tenant, which no retry can
            help.
    """
    failures = [task.exception() for task in ended.values() if task.exception() is not None]
    for failure in failures:
        if failure is not None and (len(failures) == len(ended) or not getattr(failure, "retryable", False)):
            raise failure
    return {name: task.result() for name, task in ended.items() if task.exception() is None}


def _fused(lists: dict[str, list[Hit]], question: str, vector: NDArray[np.float32], rrf_k: int) -> Iterator[Passage]:
    """Yield the passages of all lists in fused order, each with its rank and score in every list."""
    places = {name: {hit.key: (rank, hit.score) for rank, hit in enumerate(hits, 1)} for name, hits in lists.items()}
    rows = {hit.key: hit.row for hits in lists.values() for hit in hits}
    for key, score in fuse_rankings([[hit.key for hit in hits] for hits in lists.values()], rrf_k):
        by_meaning = places.get("meaning", {}).get(key, (0, 0.0))
        by_words = places.get("words", {}).get(key, (0, 0.0))
        stages = StageScores(*by_meaning, *by_words)
        yield replace(passage_of(rows[key], question, vector), score=score, stages=stages)


async def _timed(search: _Search, stage: str, asked: Coroutine[Any, Any, list[Hit]]) -> list[Hit]:
    started = time.perf_counter()
    try:
        return await asked
    finally:
        search.stage_ms[stage] = (time.perf_counter() - started) * 1e3
