"""The frontier of what Ray's default can have, and what counts as better than it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaling.simulator.comparison import Comparison, Day, Point, cost_at, frontier, missed_at

pytestmark = pytest.mark.unit
RAYS = ((0.7, Point(1.4, 0.0)), (0.8, Point(1.2, 0.01)), (0.9, Point(1.1, 0.05)))
DAY = Day("daily", 1, Point(1.15, 0.005), RAYS, Point(9.0, 0.0))


def test_between_two_targets_the_frontier_is_straight() -> None:
    hull = frontier(point for _, point in RAYS)
    assert missed_at(hull, 1.15) == pytest.approx(0.03)
    assert cost_at(hull, 0.005) == pytest.approx(1.3)


def test_day_is_better_by_misses_at_its_cost_and_by_cost_at_its_misses() -> None:
    assert DAY.misses_saved == pytest.approx(0.025)
    assert DAY.cost_saved == pytest.approx(0.15)
    assert DAY.is_below
    assert not replace(DAY, ours=Point(1.3, 0.01)).is_below


def test_misses_that_ray_never_gets_down_to_cost_at_least_its_dearest() -> None:
    rays = ((0.8, Point(1.2, 0.02)), (0.9, Point(1.1, 0.05)))
    assert replace(DAY, rays=rays).cost_saved == pytest.approx(0.05)


def test_mean_has_the_interval_of_student() -> None:
    days = tuple(replace(DAY, seed=seed, ours=Point(1.15, missed)) for seed, missed in enumerate((0.004, 0.005, 0.006)))
    mean = Comparison("daily", days).mean(lambda day: day.misses_saved)
    assert mean.value == pytest.approx(0.025)
    assert mean.half == pytest.approx(4.30 * 0.001 / 3**0.5)
    assert Comparison("daily", days).is_below
    wild = (replace(DAY, ours=Point(1.15, 0.0)), replace(DAY, ours=Point(1.15, 0.04)))
    assert not Comparison("daily", wild).is_below


@given(st.lists(st.tuples(st.floats(1, 3), st.floats(0, 1)), min_size=1, max_size=12))
def test_no_point_lies_below_the_frontier_and_its_misses_only_fall(pairs: list[tuple[float, float]]) -> None:
    points = [Point(cost, missed) for cost, missed in pairs]
    hull = frontier(points)
    assert set(hull) <= set(points)
    assert all(missed_at(hull, point.cost) <= point.missed + 1e-9 for point in points)
    missed = [point.missed for point in hull]
    assert missed == sorted(missed, reverse=True)
