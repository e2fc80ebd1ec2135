"""Which pool a request goes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaling.pool_choice import STALE_MS, Candidate, PoolView, RestLimits, order_of_pools

pytestmark = pytest.mark.unit
BUDGET_MS = 800
FIRST = PoolView("neuron")
SECOND = PoolView("main")
NOW_MS = 1_000_000


def order(*views: PoolView, waits: dict[str, int] | None = None, now_ms: int = NOW_MS) -> list[str]:
    return order_of_pools([Candidate(view, (waits or {}).get(view.name, 0)) for view in views], now_ms, BUDGET_MS)


def test_first_of_the_route_is_first_when_nothing_is_known() -> None:
    assert order(FIRST, SECOND) == ["neuron", "main"]


def test_pool_slower_than_the_budget_yields_to_the_next() -> None:
    slow = FIRST.after_first_output(2_000, NOW_MS)
    assert order(slow, SECOND) == ["main", "neuron"]


def test_old_measurement_is_forgotten_so_that_the_pool_is_tried_again() -> None:
    slow = FIRST.after_first_output(2_000, NOW_MS)
    assert order(slow, SECOND, now_ms=NOW_MS + STALE_MS) == ["main", "neuron"]
    assert order(slow, SECOND, now_ms=NOW_MS + STALE_MS + 1) == ["neuron", "main"]


def test_pool_with_a_request_that_waits_too_long_is_left_at_once() -> None:
    quick = FIRST.after_first_output(100, NOW_MS)
    assert order(quick, SECOND, waits={"neuron": BUDGET_MS}) == ["neuron", "main"]
    assert order(quick, SECOND, waits={"neuron": BUDGET_MS + 1}) == ["main", "neuron"]


def test_when_all_are_too_slow_the_fastest_is_first() -> None:
    assert order(SECOND.after_first_output(1_500, NOW_MS), FIRST.after_first_output(3_000, NOW_MS)) == [
        "main",
        "neuron",
    ]


def test_pool_that_failed_rests_and_comes_back() -> None:
    failed = FIRST.after_failure(NOW_MS, RestLimits(first_ms=1_000))
    assert order(failed, SECOND) == ["main", "neuron"]
    assert order(failed, SECOND, now_ms=NOW_MS + 1_000) == ["neuron", "main"]


def test_rest_doubles_up_to_its_limit_and_ends_with_a_success() -> None:
    limits, view, rests = RestLimits(first_ms=1_000, longest_ms=5_000), FIRST, []
    for _ in range(5):
        view = view.after_failure(NOW_MS, limits)
        rests.append(view.rests_until_ms - NOW_MS)
    assert rests == [1_000, 2_000, 4_000, 5_000, 5_000]
    assert view.after_first_output(100, NOW_MS).failures == 0
    assert order(view.after_first_output(100, NOW_MS), SECOND) == ["neuron", "main"]


def test_when_all_rest_the_one_that_may_be_asked_soonest_is_first() -> None:
    limits = RestLimits()
    twice = FIRST.after_failure(NOW_MS, limits).after_failure(NOW_MS, limits)
    assert order(SECOND.after_failure(NOW_MS, limits), twice) == ["main", "neuron"]


def test_average_moves_towards_the_newest() -> None:
    view = FIRST.after_first_output(100, NOW_MS).after_first_output(200, NOW_MS)
    assert view.first_output_ms == pytest.approx(130)


views = st.builds(
    PoolView,
    name=st.uuids().map(str),
    first_output_ms=st.none() | st.floats(0, 10_000),
    measured_ms=st.integers(0, 100_000),
    failures=st.integers(0, 500),
    rests_until_ms=st.integers(0, 100_000),
)


@given(st.lists(views, min_size=1, max_size=6), st.integers(0, 100_000), st.integers(0, 5_000))
def test_every_pool_is_in_the_order_once_and_the_first_good_one_of_the_route_is_tried_first(
    pools: list[PoolView], now_ms: int, budget_ms: int
) -> None:
    names = order_of_pools([Candidate(view) for view in pools], now_ms, budget_ms)
    assert sorted(names) == sorted(view.name for view in pools)
    good = [v for v in pools if v.rests_until_ms <= now_ms and v.expected_ms(now_ms, 0) <= budget_ms]
    if good:
        assert names[0] == good[0].name


@given(views, st.integers(0, 100_000))
def test_a_failure_always_makes_a_pool_rest_within_its_limits(view: PoolView, now_ms: int) -> None:
    rests_ms = view.after_failure(now_ms, RestLimits(500, 8_000)).rests_until_ms - now_ms
    assert 500 <= rests_ms <= 8_000
