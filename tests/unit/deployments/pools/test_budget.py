"""A pool that keeps missing its budget is not waited for, is tried anew while nobody waits, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from autoscaling.pool_choice import RestLimits
from deployments.pools.budget import LEAST_MISSES, MEMORY_MS, TRIAL_EVERY_MS, PoolBudget
from deployments.pools.health import PoolHealth
from deployments.pools.routing import RoutedLanguageModel
from pipelines.errors import Component, EngineError
from pipelines.ports import ChatMessage, Clause, GenerationRequest

pytestmark = pytest.mark.unit

BUDGET_MS = 800
REQUEST = GenerationRequest("r1", (ChatMessage("user", "What is it?"),), max_tokens=8)


class Clock:
    def __init__(self) -> None:
        self.now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


class SlowModel:
    """Its first clause takes `took_ms` of the test's clock."""

    def __init__(self, clock: Clock, took_ms: int) -> None:
        self.clock, self.took_ms = clock, took_ms
        self.asked: list[str] = []

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        self.asked.append(request.request_id)
        self.clock.now_ms += self.took_ms
        await asyncio.sleep(0)  # noqa: TID251 - lets a caller that waits no longer give up
        yield Clause("It is.", is_last=True, tokens=2, prompt_tokens=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def routed(clock: Clock, *models: SlowModel) -> RoutedLanguageModel:
    health = PoolHealth(Component.LANGUAGE_MODEL, RestLimits(), budget_ms=BUDGET_MS, now_ms=clock)
    pools = {f"pool{number}": model for number, model in enumerate(models)}
    return RoutedLanguageModel(pools, tuple(pools), health)


async def first_of(model: RoutedLanguageModel) -> str:
    async with aclosing(model.generate(REQUEST)) as clauses:  # type: ignore[type-var]
        return (await anext(clauses)).text


def missed(budget: PoolBudget, *, times: int, now_ms: int = 0) -> PoolBudget:
    for _ in range(times):
        budget.note_output(BUDGET_MS + 1, now_ms)
    return budget


def test_a_pool_is_given_up_after_several_misses_and_no_hit() -> None:
    assert not missed(PoolBudget(BUDGET_MS), times=LEAST_MISSES - 1).is_missed(0)
    budget = missed(PoolBudget(BUDGET_MS), times=LEAST_MISSES)
    assert budget.is_missed(0)
    budget.note_output(BUDGET_MS, 0)
    assert not budget.is_missed(0)


def test_misses_are_forgotten_after_minutes() -> None:
    budget = missed(PoolBudget(BUDGET_MS), times=LEAST_MISSES)
    assert budget.is_missed(MEMORY_MS)
    assert not budget.is_missed(MEMORY_MS + 1)


@pytest.mark.parametrize(("elapsed_ms", "is_missed"), [(BUDGET_MS, True), (BUDGET_MS - 20, True), (300, False)])
def test_a_request_that_was_given_up_counts_only_when_its_budget_was_over(elapsed_ms: int, is_missed: bool) -> None:
    budget = PoolBudget(BUDGET_MS)
    for _ in range(LEAST_MISSES):
        budget.note_end(elapsed_ms, 0)
    assert budget.is_missed(0) == is_missed


async def test_slow_model_is_no_longer_waited_for_and_comes_back_after_a_trial(clock: Clock) -> None:
    slow = SlowModel(clock, took_ms=5_000)
    model = routed(clock, slow)
    for _ in range(LEAST_MISSES):
        assert await first_of(model) == "It is."
    asked = len(slow.asked)
    for _ in range(4):
        with pytest.raises(EngineError, match="is not waited for"):
            await first_of(model)
    await asyncio.sleep(0.01)  # noqa: TID251 - the trial runs in a task of its own
    assert slow.asked[asked:] == ["r1-trial"], "one trial, however many ask"
    clock.now_ms += TRIAL_EVERY_MS
    slow.took_ms = 100
    with pytest.raises(EngineError):
        await first_of(model)
    await asyncio.sleep(0.01)  # noqa: TID251 - the trial runs in a task of its own
    assert await first_of(model) == "It is."


async def test_another_pool_of_the_route_that_makes_its_budget_is_waited_for(clock: Clock) -> None:
    model = routed(clock, SlowModel(clock, took_ms=5_000), SlowModel(clock, took_ms=100))
    for _ in range(3 * LEAST_MISSES):
        assert await first_of(model) == "It is."
