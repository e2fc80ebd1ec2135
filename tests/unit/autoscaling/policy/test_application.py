"""One budget of calls over all stages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaling.policy.application import (
    ApplicationDecision,
    ApplicationLimits,
    ApplicationMemory,
    ApplicationSnapshot,
    StageShare,
    cost_per_hour,
    scale_application,
)
from autoscaling.policy.forecast import CallReading
from autoscaling.policy.schedule import ScheduleEntry, parse_entry, scheduled_calls
from autoscaling.policy.stages import StageSnapshot

pytestmark = pytest.mark.unit
MONDAY_9 = 9 * 60.0
SHARES = {
    "Gateway": StageShare(75, 1, 100, price_per_hour=0.05),
    "Transcriber": StageShare(15, 1, 100, price_per_hour=0.4, signals={"lag_ms": 250}),
    "LanguageModel": StageShare(60, 1, 100, price_per_hour=1.8),
}
LIMITS = ApplicationLimits(SHARES, headroom=0.1, deviations=0)


def decide(
    calls: float, limits: ApplicationLimits = LIMITS, memory: ApplicationMemory | None = None, now_s: float = 0.0
) -> tuple[ApplicationDecision, ApplicationMemory]:
    snapshot = ApplicationSnapshot(CallReading(now_s, calls, 0), MONDAY_9, {})
    return scale_application(snapshot, memory or ApplicationMemory(), limits)


def test_every_stage_gets_the_replicas_for_the_same_calls() -> None:
    decision, _ = decide(300)
    assert decision.calls == pytest.approx(330)
    assert decision.replicas == {"Gateway": 5, "Transcriber": 22, "LanguageModel": 6}


def test_fewer_calls_are_believed_only_after_the_hold() -> None:
    _, memory = decide(300)
    at_once, memory = decide(30, memory=memory, now_s=100)
    later, _ = decide(30, memory=memory, now_s=241)
    assert at_once.replicas["LanguageModel"] == 6
    assert later.replicas["LanguageModel"] == 1


def test_ceiling_cuts_all_stages_alike_and_not_below_the_calls_in_progress() -> None:
    limits = replace(LIMITS, ceiling_per_hour=6.0)
    decision, _ = decide(1000, limits)
    assert decision.is_capped
    assert cost_per_hour(decision.calls, limits) <= 6.0
    assert decision.replicas["LanguageModel"] >= 1000 / 60
    quiet, _ = decide(50, limits)
    assert not quiet.is_capped


def test_warm_spares_and_schedule_are_room_for_calls_that_are_not_there() -> None:
    warm, _ = decide(0, replace(LIMITS, warm_calls=60))
    assert warm.replicas["LanguageModel"] == 1
    assert warm.replicas["Transcriber"] == 4
    opening = ScheduleEntry(frozenset({"mon"}), 9 * 60 + 2, 12 * 60, 600)
    planned, _ = decide(0, replace(LIMITS, schedule=(opening,)))
    assert planned.replicas["LanguageModel"] == 10


def test_silent_gateways_change_nothing() -> None:
    snapshot = ApplicationSnapshot(None, MONDAY_9, {"Gateway": 3, "Transcriber": 9, "LanguageModel": 4})
    decision, _ = scale_application(snapshot, ApplicationMemory(), LIMITS)
    assert decision.replicas == {"Gateway": 3, "Transcriber": 9, "LanguageModel": 4}


def test_between_two_periods_the_decision_stands() -> None:
    first, memory = decide(300)
    again, same = decide(900, memory=memory, now_s=4.9)
    assert again is first
    assert same is memory
    assert decide(900, memory=memory, now_s=5)[0].replicas["LanguageModel"] == 17


def test_stage_that_suffers_gets_more_than_its_profile_said() -> None:
    stages = {"Transcriber": StageSnapshot(0, 22, 0, {"lag_ms": 600.0})}
    snapshot = ApplicationSnapshot(CallReading(0, 300, 0), MONDAY_9, {}, stages)
    decision, _ = scale_application(snapshot, ApplicationMemory(), LIMITS)
    assert decision.replicas["Transcriber"] == 33
    assert decision.pressed_by == {"Transcriber": "lag_ms"}
    capped, _ = scale_application(snapshot, ApplicationMemory(), replace(LIMITS, ceiling_per_hour=1.0))
    assert capped.replicas["Transcriber"] == 20


@given(st.lists(st.tuples(st.floats(1, 60), st.floats(0, 5000)), min_size=1, max_size=30), st.floats(0, 50))
def test_calls_in_progress_always_have_their_replicas(steps: list[tuple[float, float]], ceiling: float) -> None:
    limits = replace(LIMITS, ceiling_per_hour=ceiling, period_s=0.0)
    memory, now_s = ApplicationMemory(), 0.0
    for step_s, calls in steps:
        now_s += step_s
        decision, memory = decide(calls, limits, memory, now_s)
        for name, share in SHARES.items():
            wanted = min(share.max_replicas, calls / share.calls_per_replica)
            assert decision.replicas[name] >= wanted - 1e-6
            assert share.min_replicas <= decision.replicas[name] <= share.max_replicas


def test_schedule_reads_days_and_times() -> None:
    entry = parse_entry("mon-fri,sun", "08:30", "17:00", 100)
    assert entry.covers("fri", 8 * 60 + 30)
    assert not entry.covers("fri", 17 * 60)
    assert not entry.covers("sat", 12 * 60)
    night = parse_entry("all", "22:00", "06:00", 5)
    assert night.covers("mon", 23 * 60)
    assert night.covers("tue", 5 * 60)
    assert not night.covers("tue", 6 * 60)


def test_schedule_is_heeded_a_lead_ahead_and_across_the_week() -> None:
    entry = parse_entry("mon", "00:00", "01:00", 70)
    assert scheduled_calls([entry], 7 * 24 * 60 - 2, lead_s=180) == 70
    assert scheduled_calls([entry], 7 * 24 * 60 - 4, lead_s=180) == 0


@pytest.mark.parametrize("wrong", [("someday", "08:00", "09:00"), ("mon", "8", "09:00"), ("mon", "08:00", "25:00")])
def test_schedule_that_cannot_be_read_says_what_to_write(wrong: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_entry(*wrong, 5)


TWO_POOLS = ApplicationLimits(
    {
        "Neuron": StageShare(10, 0, 4, price_per_hour=1.0),
        "Main": StageShare(60, 1, 9, price_per_hour=4.0, overflow_of="Neuron"),
    },
    headroom=0.0,
    deviations=0.0,
)


def decide_pools(calls: float, running_neuron: int, limits: ApplicationLimits = TWO_POOLS) -> dict[str, int]:
    stages = {"Neuron": StageSnapshot(0.0, running_neuron), "Main": StageSnapshot(0.0, 1)}
    snapshot = ApplicationSnapshot(CallReading(0.0, calls, 0), MONDAY_9, {}, stages)
    decision, _ = scale_application(snapshot, ApplicationMemory(), limits)
    return dict(decision.replicas)


def test_second_pool_gets_the_calls_beyond_what_the_first_holds() -> None:
    assert decide_pools(30, running_neuron=3) == {"Neuron": 3, "Main": 1}
    assert decide_pools(200, running_neuron=4) == {"Neuron": 4, "Main": 3}


def test_pool_of_which_nothing_runs_is_not_counted_on() -> None:
    assert decide_pools(200, running_neuron=0) == {"Neuron": 4, "Main": 4}


def test_ceiling_counts_both_pools() -> None:
    limits = replace(TWO_POOLS, ceiling_per_hour=12.0)
    assert cost_per_hour(160, limits) == 12.0
    snapshot = ApplicationSnapshot(CallReading(0.0, 0, 0), MONDAY_9, {})
    decision, _ = scale_application(snapshot, ApplicationMemory(), replace(limits, warm_calls=500))
    assert decision.is_capped
    assert decision.replicas == {"Neuron": 4, "Main": 2}
