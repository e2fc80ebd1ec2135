"""The simulator by itself: calls are conserved, the oracle is a bound, Ray's default is Ray's."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaling.policy.forecast import CallReading
from autoscaling.simulator.contenders import (
    CallsContender,
    FixedContender,
    Look,
    RayDefaultContender,
    RayDefaults,
    limits_for,
)
from autoscaling.simulator.fleet import Fleet
from autoscaling.simulator.oracle import _close_gaps, machines_needed, oracle_cost
from autoscaling.simulator.run import simulate
from autoscaling.simulator.scenario import Machine, Scenario, StageModel
from autoscaling.simulator.traces import GENERATORS, Trace, load_trace, save_trace

pytestmark = pytest.mark.unit
SCENARIO = Scenario(
    {"gpu": Machine("gpu", (1.0, 24e9, 8.0), 1.0, boot_s=100), "cpu": Machine("cpu", (0.0, 0.0, 8.0), 0.3, boot_s=50)},
    (
        StageModel("gateway", "cpu", (0.0, 0.0, 1.0), 20, start_s=10, drain_s=60),
        StageModel("speech", "gpu", (0.4, 4e9, 1.0), 10, start_s=20),
        StageModel("model", "gpu", (0.6, 16e9, 4.0), 15, start_s=40),
    ),
)


def trace_of(arrivals: list[int], length_s: int) -> Trace:
    counts = np.asarray(arrivals, np.int64)
    return Trace("made", counts, np.full(int(counts.sum()), length_s, np.int32))


def test_fleet_that_is_large_enough_misses_nothing_and_costs_its_machines() -> None:
    trace = trace_of([0] * 300 + [1] * 600, 60)
    outcome = simulate(trace, SCENARIO, FixedContender(SCENARIO, 100))
    assert (outcome.calls, outcome.refused) == (600, 0)
    assert outcome.peak_calls == 60


def test_without_room_calls_are_refused_and_those_in_progress_are_late() -> None:
    trace = trace_of([0] * 10 + [60] + [0] * 50, 30)
    outcome = simulate(trace, SCENARIO, FixedContender(SCENARIO, 10))
    # One replica of each stage: 10 calls within the target, 11 admitted, 49 refused, and the 11 all late.
    assert outcome.refused == 49
    assert outcome.late == 11
    assert outcome.missed_share == 1.0


def test_new_machine_serves_only_after_boot_and_start() -> None:
    fleet = Fleet(SCENARIO)
    model = SCENARIO.stages[2]
    fleet.scale(model, 1, 0.0)
    fleet.advance(139)
    assert fleet.serving["model"] == 0
    fleet.advance(140)
    assert fleet.serving["model"] == 1
    assert fleet.price_per_hour() == 1.0


def test_replicas_share_a_machine_and_idle_ones_end() -> None:
    fleet = Fleet(SCENARIO)
    speech, model = SCENARIO.stages[1:]
    fleet.scale(speech, 1, 0)
    fleet.scale(model, 1, 0)
    assert len(fleet.nodes["gpu"]) == 1
    fleet.scale(model, 2, 0)
    assert len(fleet.nodes["gpu"]) == 2
    fleet.advance(500)
    fleet.scale(model, 1, 500)
    fleet.advance(515)
    fleet.end_idle(560)
    assert len(fleet.nodes["gpu"]) == 2
    fleet.end_idle(571)
    assert len(fleet.nodes["gpu"]) == 1


@given(st.lists(st.integers(0, 6), min_size=2, max_size=60), st.integers(1, 12))
@settings(max_examples=200)
def test_oracle_keeps_a_machine_through_gaps_shorter_than_its_lead(counts: list[int], lead_s: int) -> None:
    kept = _close_gaps(np.asarray(counts, np.int64), lead_s)
    for level in range(1, max(counts) + 1):
        needed = [second for second, count in enumerate(counts) if count >= level]
        wanted = set(needed)
        for before, after in itertools.pairwise(needed):
            if after - before - 1 < lead_s:
                wanted.update(range(before, after))
        assert {second for second, count in enumerate(kept) if count >= level} == wanted


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_no_policy_without_misses_is_cheaper_than_the_oracle(name: str) -> None:
    trace = GENERATORS[name](60, np.random.default_rng(3), 15)
    outcome = simulate(trace, SCENARIO, CallsContender(limits_for(SCENARIO, headroom=0.6)))
    oracle = oracle_cost(trace, SCENARIO)
    assert outcome.cost > oracle.cost
    assert outcome.calls == trace.arrivals.sum()
    assert 0 <= outcome.refused + outcome.late <= outcome.calls


def test_needed_machines_are_bound_by_the_scarcest_resource() -> None:
    needed = machines_needed(np.asarray([0, 10, 30]), SCENARIO, "gpu")
    assert needed.tolist() == [1, 1, 3]  # 30 calls: 3 speech (1.2) and 2 model (1.2) of the share


def test_offered_calls_are_arrivals_less_ends() -> None:
    assert trace_of([2, 0, 1, 0, 0], 3).offered_calls().tolist() == [2, 2, 3, 1, 1]


def test_recorded_trace_comes_back_as_it_was(tmp_path: Path) -> None:
    trace = GENERATORS["daily"](30, np.random.default_rng(1), 2)
    save_trace(trace, tmp_path / "day.jsonl")
    again = load_trace(tmp_path / "day.jsonl")
    assert again.arrivals.tolist() == trace.arrivals[: again.seconds].tolist()
    assert again.lengths_s.tolist() == trace.lengths_s.tolist()


@pytest.mark.parametrize("line", ['{"at_s": 1}', "no json", '{"at_s": -1, "length_s": 5}'])
def test_recording_that_is_wrong_names_its_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"at_s": 0, "length_s": 5}\n' + line + "\n")
    with pytest.raises(ValueError, match="line 2"):
        load_trace(tmp_path / "t.jsonl")


@pytest.mark.filterwarnings("ignore")  # of Ray's own modules, when they are imported
def test_ray_default_is_what_ray_serve_computes() -> None:
    """The same calls through Ray's own policy, factors and delays."""
    from ray.serve.autoscaling_policy import _apply_default_params, replica_queue_length_autoscaling_policy
    from ray.serve.config import AutoscalingConfig

    stage = SCENARIO.stages[1]
    target = stage.calls_per_replica * 0.7
    config = AutoscalingConfig(min_replicas=1, max_replicas=1000, target_ongoing_requests=target)
    ours = RayDefaultContender(SCENARIO, RayDefaults(look_back_s=0))
    rng, ordered, state = np.random.default_rng(2), 3, {}
    calls = 30.0
    for step in range(600):
        calls = max(0.0, calls + rng.normal(0, 6))
        now_s = step * 5.0
        look = Look(CallReading(now_s, calls, 0), 0, dict.fromkeys(("gateway", "speech", "model"), ordered))
        context: Any = SimpleNamespace(
            current_num_replicas=ordered, target_num_replicas=ordered, total_num_requests=calls, config=config
        )
        desired, _ = replica_queue_length_autoscaling_policy(context)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ray.serve.autoscaling_policy.time.time", lambda now_s=now_s: now_s)
            rays, state = _apply_default_params(desired, context, state)
        expected = max(1, math.ceil(rays))
        assert ours.decide(look)["speech"] == expected, step
        ordered = expected
