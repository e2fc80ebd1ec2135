"""Each stage by its own signals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaling.policy.holding import hold_peak
from autoscaling.policy.stages import (
    TARGETS,
    StageLimits,
    StageMemory,
    StageSnapshot,
    VariantMemory,
    pressure_of,
    scale_stage,
    scale_variant,
)

pytestmark = pytest.mark.unit


def limits(stage: str, **changes: float) -> StageLimits:
    values = {"holds": 10.0, "min_replicas": 1, "max_replicas": 50, "hold_s": 60.0, **changes}
    return StageLimits(targets=TARGETS[stage], **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stage", "readings", "by"),
    [
        ("transcriber", {"busy": 0.99, "lag_ms": 10}, "busy"),
        ("transcriber", {"busy": 0.2, "lag_ms": 900}, "lag_ms"),
        ("retriever", {"lag_ms": 400}, "lag_ms"),
        ("language_model", {"first_output_ms": 1500, "kv_use": 0.2}, "first_output_ms"),
        ("language_model", {"first_output_ms": 100, "kv_use": 0.97}, "kv_use"),
        ("synthesizer", {"first_output_ms": 100, "real_time_factor": 0.9}, "real_time_factor"),
    ],
)
def test_neediest_signal_asks_for_more(stage: str, readings: dict[str, float], by: str) -> None:
    decision, _ = scale_stage(StageSnapshot(0, 4, 0, readings), StageMemory(), limits(stage))
    assert decision.pressed_by == by
    assert 4 < decision.replicas <= 6


def test_signal_near_its_target_changes_nothing() -> None:
    decision, _ = scale_stage(StageSnapshot(0, 4, 0, {"busy": 0.8}), StageMemory(), limits("transcriber"))
    assert decision.replicas == 4
    assert decision.pressed_by == ""


def test_replicas_go_only_when_signals_have_been_low_for_long() -> None:
    memory = StageMemory()
    counts = []
    for second, busy in [(0, 0.85), (10, 0.1), (50, 0.1), (61, 0.1), (71, 0.1)]:
        snapshot = StageSnapshot(second, 4, 0, {"busy": busy})
        decision, memory = scale_stage(snapshot, memory, limits("transcriber"))
        counts.append(decision.replicas)
    assert counts == [4, 4, 4, 1, 1]


def test_silent_stage_keeps_what_it_has() -> None:
    decision, _ = scale_stage(StageSnapshot(0, 7), StageMemory(), limits("transcriber"))
    assert decision.replicas == 7


def test_gateways_follow_the_calls() -> None:
    decision, _ = scale_stage(StageSnapshot(0, 4, 39, {"occupancy": 39 / 40}), StageMemory(), limits("gateway"))
    assert decision.replicas == 5


@given(st.floats(0, 400), st.integers(0, 40), st.floats(0, 3))
def test_never_below_what_is_in_progress_nor_above_the_largest(in_progress: float, replicas: int, busy: float) -> None:
    bounds = limits("transcriber", max_replicas=45)
    decision, _ = scale_stage(StageSnapshot(0, replicas, in_progress, {"busy": busy}), StageMemory(), bounds)
    assert decision.replicas * 10 >= in_progress - 1e-6
    assert 1 <= decision.replicas <= 45


def test_unused_variant_goes_to_zero_and_a_call_brings_it_back() -> None:
    bounds = StageLimits(10, {}, 0, 3, hold_s=600)
    memory = VariantMemory()
    counts = []
    for second, calls, running in [(0, 5, 1), (300, 0, 1), (599, 0, 1), (601, 0, 1), (700, 1, 0), (800, 25, 1)]:
        decision, memory = scale_variant(StageSnapshot(second, running, calls), memory, bounds)
        counts.append(decision.replicas)
    assert counts == [1, 1, 1, 0, 1, 3]


def test_variant_with_a_call_in_progress_never_goes() -> None:
    decision, _ = scale_variant(StageSnapshot(10_000, 1, 1), VariantMemory(0), StageLimits(10, {}, 0, 3, hold_s=600))
    assert decision.replicas == 1


def test_pressure_of_nothing_is_none() -> None:
    assert pressure_of({}, TARGETS["transcriber"]) == (1.0, "")


@given(st.lists(st.tuples(st.floats(0.1, 30), st.floats(0, 100)), min_size=1, max_size=60), st.floats(1, 100))
def test_held_peak_is_the_largest_of_the_window(steps: list[tuple[float, float]], hold_s: float) -> None:
    peaks, now_s, seen = (), 0.0, []
    for step_s, wanted in steps:
        now_s += step_s
        seen.append((now_s, wanted))
        held, peaks = hold_peak(peaks, now_s, wanted, hold_s)
        assert held == max(value for at, value in seen if now_s - at < hold_s)
