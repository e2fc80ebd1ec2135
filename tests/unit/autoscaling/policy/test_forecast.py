"""Anticipation: what arrivals tell of the calls to come."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from autoscaling.policy.forecast import CallReading, ForecastMemory, anticipated_calls, arrival_trend, remember

pytestmark = pytest.mark.unit
LENGTH_S = 180.0


def after(rates: list[float], calls: float, spacing_s: float = 5.0) -> tuple[ForecastMemory, CallReading]:
    """Return the memory after these arrival rates, with a constant number of calls."""
    memory, arrivals = ForecastMemory(mean_call_s=LENGTH_S), 0.0
    reading = CallReading(0.0, calls, 0.0)
    memory = remember(memory, reading)
    for step, rate in enumerate(rates, start=1):
        arrivals += rate * spacing_s
        reading = CallReading(step * spacing_s, calls, arrivals)
        memory = remember(memory, reading)
    return memory, reading


def test_steady_arrivals_anticipate_the_calls_there_are() -> None:
    memory, reading = after([10.0] * 40, calls=1800)
    assert anticipated_calls(memory, reading, 180) == pytest.approx(1800, rel=0.02)


def test_jump_in_arrivals_is_anticipated_before_the_calls_are_there() -> None:
    memory, reading = after([10.0] * 30 + [20.0] * 14, calls=2200)
    ahead = anticipated_calls(memory, reading, 180)
    if_it_lasts = 3600 + (2200 - 3600) * math.exp(-1)
    # A jump within the window looks like the beginning of more of it.
    assert if_it_lasts * 0.95 < ahead < if_it_lasts * 1.35


def test_growing_arrivals_have_a_slope() -> None:
    memory, _ = after([10 + 0.1 * step for step in range(48)], calls=1800)
    assert arrival_trend(memory).slope == pytest.approx(0.02, rel=0.25)


def test_falling_arrivals_have_none() -> None:
    memory, _ = after([20 - 0.1 * step for step in range(48)], calls=1800)
    assert arrival_trend(memory).slope == 0


def test_slope_of_one_deviation_is_chance() -> None:
    memory, _ = after([1.0, 1.4] * 20, calls=180)
    assert arrival_trend(memory).slope == pytest.approx(0.0, abs=1e-3)


def test_first_reading_anticipates_itself() -> None:
    reading = CallReading(0, 42, 0)
    assert anticipated_calls(remember(ForecastMemory(), reading), reading, 180) == 42


def test_readings_too_close_together_and_too_old_are_left_out() -> None:
    memory = ForecastMemory()
    for second in range(1000):
        memory = remember(memory, CallReading(second, 10, second))
    assert len(memory.readings) <= 49
    assert memory.readings[-1].now_s - memory.readings[0].now_s <= 240


def test_clock_that_ran_back_starts_anew() -> None:
    memory = remember(remember(ForecastMemory(), CallReading(100, 1, 1)), CallReading(50, 1, 1))
    assert [known.now_s for known in memory.readings] == [50]


def test_length_of_calls_is_learnt_from_those_that_end() -> None:
    memory, _ = after([10.0] * 400, calls=1200)
    assert memory.mean_call_s == pytest.approx(120, rel=0.02)


def test_refused_calls_are_demand_but_have_no_length() -> None:
    memory = ForecastMemory(mean_call_s=LENGTH_S)
    for step in range(400):
        memory = remember(memory, CallReading(step * 5.0, 1800, step * 100.0, step * 50.0))
    assert memory.mean_call_s == pytest.approx(180, rel=0.02)
    assert arrival_trend(memory).per_s == pytest.approx(20, rel=0.05)


def test_dispersion_of_poisson_arrivals_is_near_one_and_of_wild_ones_is_learned() -> None:
    rng = random.Random(1)
    steady, _ = after([rng.gauss(10, math.sqrt(10 / 5)) for _ in range(600)], calls=1800)
    assert steady.dispersion < 2
    wild, _ = after([rng.choice([2.0, 18.0]) for _ in range(50) for _ in [0] * 12], calls=1800)
    bursts, _ = after([rate for _ in range(25) for rate in [2.0] * 12 + [18.0] * 12], calls=1800)
    assert bursts.dispersion > 10
    assert wild.dispersion > steady.dispersion


def test_wild_arrivals_are_believed_less() -> None:
    calm, reading = after([10.0] * 36 + [20.0] * 12, calls=1800)
    wild = replace(calm, dispersion=30.0)
    assert 1800 < anticipated_calls(wild, reading, 180) < anticipated_calls(calm, reading, 180)
