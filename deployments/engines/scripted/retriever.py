"""A retriever that finds the passages it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from deployments.engines.scripted.script import Script
from pipelines.errors import Component, EngineError
from pipelines.ports import Passage, RetrievalQuery


class ScriptedRetriever:
    """Finds `passages` for every query, or the passages of the first key in `by_term` that the query contains.

    Queries are recorded in `queries`. If `delay_s` exceeds the query's budget it raises, as the real retriever does.
    """

    def __init__(
        self,
        passages: Sequence[Passage] = (),
        *,
        by_term: Mapping[str, Sequence[Passage]] | None = None,
        script: Script | None = None,
    ) -> None:
        self.passages = list(passages)
        self.by_term = dict(by_term or {})
        self.script = script or Script()
        self.queries: list[RetrievalQuery] = []

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        self.queries.append(query)
        try:
            async with asyncio.timeout(query.budget_ms / 1000):
                await self.script.act()
        except TimeoutError as error:
            message = f"no answer within {query.budget_ms} ms"
            raise EngineError(Component.RETRIEVER, message, retryable=True) from error
        lowered = query.text.lower()
        matches = next((found for term, found in self.by_term.items() if term.lower() in lowered), self.passages)
        return list(matches)[: query.limit]

    def warm_up(self) -> None:
        """Nothing to warm."""

    async def probe(self) -> None:
        """Nothing to reach."""
