"""The language model over two pools: choice, failover, and what a failure in mid-answer means."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from autoscaling.pool_choice import RestLimits
from deployments.engines.scripted.language_model import ScriptedLanguageModel
from deployments.engines.scripted.retriever import ScriptedRetriever
from deployments.engines.scripted.script import Script
from deployments.engines.scripted.synthesizer import ScriptedSynthesizer
from deployments.engines.scripted.transcriber import ScriptedTranscriber
from deployments.pools.health import PoolHealth
from deployments.pools.routing import RoutedLanguageModel, RoutedRetriever, RoutedSynthesizer, RoutedTranscriber
from pipelines.errors import Component, EngineError
from pipelines.ports import ChatMessage, Clause, GenerationRequest, Passage, RetrievalQuery, SpeechRequest

pytestmark = pytest.mark.unit
BROKEN = EngineError("language_model", "no replica took the request", retryable=True)
ROUTE = ("neuron", "main")
REFUSED = EngineError("language_model", "too long", retryable=False)


class Clock:
    """Milliseconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


class Pool:
    """Answers with its name; fails `failures` times first; breaks off after a clause if `breaks_off`."""

    def __init__(self, name: str, clock: Clock, *, took_ms: int = 100) -> None:
        self.name, self.clock, self.took_ms = name, clock, took_ms
        self.failures: list[EngineError] = []
        self.breaks_off = False
        self.requests = 0

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        self.requests += 1
        if self.failures:
            raise self.failures.pop(0)
        self.clock.now_ms += self.took_ms
        yield Clause(self.name, False, 1, 1)
        if self.breaks_off:
            raise BROKEN
        yield Clause("", True, 1, 1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def main(clock: Clock) -> Pool:
    return Pool("main", clock)


@pytest.fixture
def neuron(clock: Clock) -> Pool:
    return Pool("neuron", clock)


@pytest.fixture
def routed(main: Pool, neuron: Pool, health: PoolHealth) -> RoutedLanguageModel:
    return RoutedLanguageModel({"main": main, "neuron": neuron}, ROUTE, health)


@pytest.fixture
def health(clock: Clock) -> PoolHealth:
    return PoolHealth(Component.LANGUAGE_MODEL, RestLimits(), budget_ms=800, now_ms=clock)


async def ask(model: RoutedLanguageModel) -> str:
    request = GenerationRequest("r", (ChatMessage("user", "Hello"),), max_tokens=9)
    return "".join([clause.text async for clause in model.generate(request)])


async def test_first_pool_of_the_route_answers(routed: RoutedLanguageModel, main: Pool) -> None:
    assert await ask(routed) == "neuron"
    assert main.requests == 0


async def test_request_that_fails_before_its_first_clause_goes_to_the_other_pool(
    routed: RoutedLanguageModel, neuron: Pool
) -> None:
    neuron.failures = [BROKEN]
    assert await ask(routed) == "main"


async def test_pool_that_failed_rests_then_is_tried_again(
    routed: RoutedLanguageModel, neuron: Pool, clock: Clock
) -> None:
    neuron.failures = [BROKEN]
    await ask(routed)
    assert await ask(routed) == "main"
    clock.now_ms += 1_000
    assert await ask(routed) == "neuron"


async def test_answer_that_breaks_off_is_not_said_again_by_another_pool(
    routed: RoutedLanguageModel, neuron: Pool, main: Pool, health: PoolHealth
) -> None:
    neuron.breaks_off = True
    with pytest.raises(EngineError):
        await ask(routed)
    assert main.requests == 0
    assert health.order(ROUTE) == ["main", "neuron"]


async def test_request_that_no_pool_could_serve_is_not_passed_on(
    routed: RoutedLanguageModel, neuron: Pool, main: Pool, health: PoolHealth
) -> None:
    neuron.failures = [REFUSED]
    with pytest.raises(EngineError, match="too long"):
        await ask(routed)
    assert main.requests == 0
    assert health.order(ROUTE) == ["neuron", "main"]


async def test_all_pools_failing_is_the_last_ones_failure(
    routed: RoutedLanguageModel, neuron: Pool, main: Pool
) -> None:
    neuron.failures, main.failures = [BROKEN], [BROKEN]
    with pytest.raises(EngineError) as failure:
        await ask(routed)
    assert failure.value.retryable
    assert (neuron.requests, main.requests) == (1, 1)


async def test_slow_pool_is_left_for_the_next_request(routed: RoutedLanguageModel, neuron: Pool, clock: Clock) -> None:
    neuron.took_ms = 5_000
    assert await ask(routed) == "neuron"
    assert await ask(routed) == "main"


async def test_pool_whose_request_waits_is_left_while_it_waits(
    routed: RoutedLanguageModel, neuron: Pool, clock: Clock
) -> None:
    waiting = routed.generate(GenerationRequest("r", (ChatMessage("user", "Hello"),), max_tokens=9))

    async def hang(request: GenerationRequest) -> AsyncIterator[Clause]:
        clock.now_ms += 10_000
        assert await ask(routed) == "main"
        yield Clause("late", True, 1, 1)

    neuron.generate = hang  # type: ignore[method-assign]  # a pool that is slow just now
    assert [clause.text async for clause in waiting] == ["late"]


async def test_caller_who_stops_listening_closes_the_pool_and_leaves_no_wait(
    routed: RoutedLanguageModel, clock: Clock, health: PoolHealth
) -> None:
    clauses = routed.generate(GenerationRequest("r", (ChatMessage("user", "Hello"),), max_tokens=9))
    await anext(clauses)
    await clauses.aclose()  # type: ignore[attr-defined]  # a generator
    clock.now_ms += 60_000
    assert health.order(ROUTE) == ["neuron", "main"]


async def test_scripted_engines_are_pools_too(health: PoolHealth) -> None:
    failing = ScriptedLanguageModel(script=Script())
    failing.script.failures.append(BROKEN)
    routed = RoutedLanguageModel({"main": ScriptedLanguageModel(), "neuron": failing}, ROUTE, health)
    assert await ask(routed)


class TestOtherStages:
    """The same rule holds for searches, voices and utterances."""

    @pytest.fixture
    def health(self, clock: Clock) -> PoolHealth:
        return PoolHealth(Component.RETRIEVER, RestLimits(), budget_ms=800, now_ms=clock)

    async def test_search_that_fails_goes_to_the_next_pool(self, health: PoolHealth) -> None:
        passage = Passage("It costs $12.", "a.md", "A", 1.0, 0.9)
        failing, well = ScriptedRetriever([]), ScriptedRetriever([passage])
        failing.script.failures.append(EngineError(Component.RETRIEVER, "down", retryable=True))
        routed = RoutedRetriever({"main": well, "neuron": failing}, ROUTE, health)
        query = RetrievalQuery("t", "cost", 3, 400)
        assert await routed.search(query) == [passage]
        assert health.order(ROUTE) == ["main", "neuron"]

    async def test_clause_that_no_voice_has_begun_is_spoken_by_the_next(self, health: PoolHealth) -> None:
        failing, well = ScriptedSynthesizer(), ScriptedSynthesizer()
        failing.script.failures.append(EngineError(Component.SYNTHESIZER, "down", retryable=True))
        routed = RoutedSynthesizer({"main": well, "neuron": failing}, ROUTE, health)
        assert [chunk async for chunk in routed.synthesize(SpeechRequest("Hello there."))]
        assert (len(failing.requests), len(well.requests)) == (1, 1)

    async def test_utterance_that_one_pool_fails_is_heard_whole_by_the_next(self, health: PoolHealth) -> None:
        audio = b"\1\0" * 16_000
        failing, well = ScriptedTranscriber(["never"]), ScriptedTranscriber(by_audio_ms={1000: "one second"})
        failing.script.failures.append(EngineError(Component.TRANSCRIBER, "down", retryable=True))
        routed = RoutedTranscriber({"main": well, "neuron": failing}, ROUTE, health)  # type: ignore[dict-item]
        stream = routed.open(lambda _heard: None)
        for start in range(0, len(audio), 640):
            stream.push(audio[start : start + 640])
        heard = await stream.finalize()
        assert (heard.text, heard.audio_ms) == ("one second", 1000)
        stream.push(audio)
        assert (await stream.finalize()).audio_ms == 2000
        await stream.aclose()

    async def test_utterance_that_may_be_at_fault_is_not_passed_on(self, health: PoolHealth) -> None:
        failing, well = ScriptedTranscriber(["never"]), ScriptedTranscriber(["not asked"])
        failing.script.failures.append(EngineError(Component.TRANSCRIBER, "too long", retryable=False))
        routed = RoutedTranscriber({"main": well, "neuron": failing}, ROUTE, health)  # type: ignore[dict-item]
        stream = routed.open(lambda _heard: None)
        stream.push(b"\1\0" * 160)
        with pytest.raises(EngineError, match="too long"):
            await stream.finalize()
        assert list(well.texts) == ["not asked"]
        await stream.aclose()
