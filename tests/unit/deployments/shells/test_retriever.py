"""The retriever's shell: what it passes on, and what it counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deployments.engines.milvus.retriever import RetrievalTiming
from deployments.engines.scripted.retriever import ScriptedRetriever
from deployments.shells.retriever import RetrievalMetrics, Retriever
from pipelines.errors import Component, EngineError
from pipelines.ports import Passage, RetrievalQuery

pytestmark = pytest.mark.unit


class Tally:
    """Stands in the place of one of Ray's metrics, which tell no values."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, dict[str, str]]] = []

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        self.seen.append((value, tags or {}))

    def observe(self, value: float, tags: dict[str, str] | None = None) -> None:
        self.seen.append((value, tags or {}))


@pytest.fixture
def metrics() -> RetrievalMetrics:
    return RetrievalMetrics()


async def test_shell_gives_the_engine_a_place_to_report_to_and_passes_queries_on() -> None:
    given: list[Callable[[RetrievalTiming], None]] = []

    def make(*, on_timing: Callable[[RetrievalTiming], None]) -> ScriptedRetriever:
        given.append(on_timing)
        return ScriptedRetriever([Passage("A fact.", "a.md", "A", 1.0, 0.9)])

    shell = Retriever(make)
    assert [p.text for p in await shell.search(RetrievalQuery("alpha", "fact", 3, 400))] == ["A fact."]
    given[0](RetrievalTiming(1.0, 2.0))


class Unreachable(ScriptedRetriever):
    """A retriever whose store cannot be reached the first time."""

    probes = 0

    async def probe(self) -> None:
        self.probes += 1
        if self.probes == 1:
            raise EngineError(Component.VECTOR_STORE, "cannot be reached", retryable=True)


async def test_replica_is_healthy_when_it_has_searched_once() -> None:
    engine = Unreachable()
    shell = Retriever(lambda *, on_timing: engine)
    with pytest.raises(EngineError, match="cannot be reached"):
        await shell.check_health()
    await shell.check_health()
    await shell.check_health()
    assert engine.probes == 2


@pytest.mark.parametrize(
    ("timing", "result", "origin"),
    [
        (RetrievalTiming(1.0, 2.0), "whole", "encoder"),
        (RetrievalTiming(1.0, 2.0, is_cached=True, is_partial=True), "partial", "cache"),
        (RetrievalTiming(1.0, 2.0, is_over_budget=True), "late", "encoder"),
    ],
)
def test_search_is_counted_by_result_and_origin(
    metrics: RetrievalMetrics, timing: RetrievalTiming, result: str, origin: str
) -> None:
    searches, vectors, stages = Tally(), Tally(), Tally()
    metrics._searches, metrics._vectors, metrics._stage_ms = searches, vectors, stages
    metrics.record(timing)
    assert searches.seen == [(1.0, {"result": result})]
    assert vectors.seen == [(1.0, {"from": origin})]
    assert stages.seen == [(1.0, {"stage": "embed"}), (2.0, {"stage": "search"})]
