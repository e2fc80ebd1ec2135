"""Retrieval as a deployment."""

from __future__ import annotations

from collections.abc import Callable

from deployments.load import LoadMeter
from pipelines.ports import Passage, RetrievalQuery
from pipelines.ports import Retriever as RetrieverEngine


class Retriever:
    """Serves one retriever: the query's embedding and the search in the vector store."""

    def __init__(self, make_engine: Callable[[], RetrieverEngine]) -> None:
        # Serve constructs replicas on the event loop that calls them, which is the one the store's client belongs to.
        self._engine = make_engine()
        self._load = LoadMeter()

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        with self._load.request():
            return await self._engine.search(query)

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._load.stats()
