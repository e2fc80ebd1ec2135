"""Retrieval as a deployment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ray.util.metrics import Counter, Histogram

from deployments.shells.load import LoadMeter
from pipelines.ports import Passage, RetrievalQuery

if TYPE_CHECKING:
    from deployments.engines.milvus.retriever import RetrievalTiming

_MS = [2.0, 5.0, 10.0, 15.0, 25.0, 40.0, 60.0, 100.0, 150.0, 250.0, 400.0, 1000.0]


class RetrievalMetrics:
    """A replica's metrics, exported by Ray together with those of Serve."""

    def __init__(self) -> None:
        self._stage_ms = Histogram(
            "voxray_retrieval_stage_ms",
            "Time of one stage of a search: embed, meaning, words, search (both with fusing) or rerank.",
            boundaries=_MS,
            tag_keys=("stage",),
        )
        self._searches = Counter(
            "voxray_retrieval_searches",
            "Searches by result: whole, partial (one of the two was too late) or late (nothing came in time).",
            tag_keys=("result",),
        )
        self._vectors = Counter(
            "voxray_retrieval_vectors",
            "Questions by the origin of their vector: cache or encoder.",
            tag_keys=("from",),
        )

    def record(self, timing: RetrievalTiming) -> None:
        """Count one search. No metric contains any word of the question."""
        result = "late" if timing.is_over_budget else "partial" if timing.is_partial else "whole"
        self._searches.inc(tags={"result": result})
        self._vectors.inc(tags={"from": "cache" if timing.is_cached else "encoder"})
        stages = {
            "embed": timing.embed_ms,
            "meaning": timing.meaning_ms,
            "words": timing.words_ms,
            "search": timing.search_ms,
            "rerank": timing.rerank_ms,
        }
        for stage, elapsed_ms in stages.items():
            if elapsed_ms:
                self._stage_ms.observe(elapsed_ms, tags={"stage": stage})


class RetrieverEngine(Protocol):
    """A `pipelines.ports.Retriever` that can be warmed."""

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        """Search."""

    def warm_up(self) -> None:
        """Make the first search as fast as later ones, as far as possible without the store. Blocks."""

    async def probe(self) -> None:
        """Search once as for a caller's question. A store that has no collection yet is not a failure.

        Raises:
            EngineError: the store cannot be reached.
        """


class OpenRetriever(Protocol):
    """Opens the engine in this process."""

    def __call__(self, *, on_timing: Callable[[RetrievalTiming], None]) -> RetrieverEngine:
        """Return the engine. `on_timing` is called after each search, for metrics."""


class Retriever:
    """Serves one retriever: the query's embedding and the search in the vector store."""

    def __init__(self, open_engine: OpenRetriever) -> None:
        # Serve constructs replicas on the event loop that calls them, which is the loop that the store's client needs.
        self._engine = open_engine(on_timing=RetrievalMetrics().record)
        self._engine.warm_up()
        self._has_searched = False
        self._load = LoadMeter()

    async def check_health(self) -> None:
        """Search once before the first caller does. Serve sends no requests to a replica whose first check fails."""
        if not self._has_searched:
            await self._engine.probe()
            self._has_searched = True

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        with self._load.request():
            return await self._engine.search(query)

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._load.stats()
