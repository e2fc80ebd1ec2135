"""From calls and a latency target to machines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaling.engine_profile import (
    EngineProfile,
    LoadPoint,
    ProfileError,
    dump_profile,
    load_profiles,
    parse_profile,
)
from autoscaling.machines import GIB, Isolation, load_machines, mig_size
from autoscaling.memory_limits import memory_limit
from autoscaling.planning import MOST_LOADED, NoPlan, PlanRequest, demand_of, make_plan, slowdown
from autoscaling.simulator.scenario import scenario_of
from cluster.cli.scaling.plan import engines_of, planned_config, settings_of

pytestmark = pytest.mark.unit
CATALOG = load_machines()
PROFILES = load_profiles()
ENGINES = engines_of(planned_config("nvidia", None))
PROFILE = EngineProfile(
    "e", "transcriber", "l4", "assumed: for a test", 3 * GIB, 1.0, 0.5,
    (LoadPoint(10, 50, 100), LoadPoint(20, 80, 200), LoadPoint(40, 200, 800)), fixed_ms=20,
)  # fmt: skip


@pytest.mark.parametrize("isolation", list(Isolation))
@pytest.mark.parametrize(("calls", "slo_ms"), [(1, 800), (50, 800), (500, 500), (2000, 1200)])
def test_plan_holds_the_calls_within_the_target_and_within_every_device(
    calls: int, slo_ms: float, isolation: Isolation
) -> None:
    found = make_plan(PlanRequest(calls, slo_ms, ENGINES, isolation=isolation), PROFILES, CATALOG)
    assert found.latency_ms <= slo_ms
    assert found.held_calls >= found.request.wanted
    for pattern, _ in found.packing.patterns:
        device = CATALOG.devices.get(pattern.slot.device)
        memory = sum(n * s.option.profile.memory_bytes for s, n in zip(found.stages, pattern.counts, strict=True))
        shares = sum(n * s.option.share for s, n in zip(found.stages, pattern.counts, strict=True))
        if device is not None:
            assert memory <= device.usable_bytes
            assert shares <= 1 + 1e-9
    for stage in found.stages:
        placed = sum(slots * pattern.counts[found.stages.index(stage)] for pattern, slots in found.packing.patterns)
        assert placed == stage.replicas
        assert stage.option.load <= MOST_LOADED


def test_target_that_nothing_meets_says_what_is_possible() -> None:
    with pytest.raises(NoPlan, match=r"the fastest takes \d+ ms"):
        make_plan(PlanRequest(10, 120, ENGINES), PROFILES, CATALOG)


def test_engine_without_profile_says_how_to_get_one() -> None:
    with pytest.raises(NoPlan, match="voxray profile other"):
        make_plan(PlanRequest(10, 800, {**ENGINES, "synthesizer": "other"}), PROFILES, CATALOG)


def test_more_calls_never_cost_less() -> None:
    prices = [make_plan(PlanRequest(calls, 800, ENGINES), PROFILES, CATALOG).packing.price for calls in (50, 200, 800)]
    assert prices == sorted(prices)


def test_latency_between_measurements_is_on_the_line_and_slows_down_with_the_share() -> None:
    assert PROFILE.latency_ms(5) == 100
    assert PROFILE.latency_ms(15) == pytest.approx(150)
    assert PROFILE.latency_ms(40) == 800
    assert PROFILE.latency_ms(41) is None
    assert PROFILE.latency_ms(7.5, share=0.5, slowdown=2) == pytest.approx(20 + 2 * 130)


def test_time_slices_slow_down_by_what_neighbours_do_and_hard_parts_by_their_size() -> None:
    assert slowdown(1.0, Isolation.TIME_SLICE) == 1
    assert slowdown(0.25, Isolation.MPS) == 4
    assert 1 < slowdown(0.25, Isolation.TIME_SLICE) < 4


def test_mig_takes_whole_instances() -> None:
    device = CATALOG.devices["a100-40"]
    size = mig_size(0.2, 3 * GIB, device)
    assert size is not None
    assert size.name == "2g"
    assert demand_of(replace(PROFILE, device="a100-40"), 0.2, Isolation.MIG, device)[0] == 285  # type: ignore[index]
    assert mig_size(0.1, 30 * GIB, device).name == "7g"  # type: ignore[union-attr]


def test_device_without_the_mode_is_shared_by_time() -> None:
    device = CATALOG.devices["l4"]
    assert demand_of(PROFILE, 0.2, Isolation.MIG, device)[0] == 200  # type: ignore[index]


def test_vllm_is_told_its_fraction_and_mps_enforces_the_others() -> None:
    device = CATALOG.devices["l40s"]
    vllm = memory_limit(replace(PROFILE, memory_control="vllm"), device, 1.0, Isolation.TIME_SLICE)
    assert vllm.settings["gpu_memory_utilization"] * device.memory_bytes >= PROFILE.memory_bytes
    assert vllm.is_enforced
    shared = memory_limit(PROFILE, device, 0.25, Isolation.MPS)
    assert shared.environment["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=3072M"
    assert shared.environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "25"
    assert not memory_limit(PROFILE, device, 0.25, Isolation.TIME_SLICE).is_enforced


def test_settings_of_a_plan_name_what_the_configuration_has() -> None:
    found = make_plan(PlanRequest(200, 800, ENGINES), PROFILES, CATALOG)
    settings = settings_of(found)
    tree = planned_config("nvidia", None).model_dump()
    for section, values in settings.items():
        assert values.keys() <= tree[section].keys()
        assert values.get("replicas", {}).keys() <= tree[section].get("replicas", {}).keys()


def test_plan_can_be_simulated() -> None:
    found = make_plan(PlanRequest(200, 800, ENGINES), PROFILES, CATALOG)
    scenario = scenario_of(found, CATALOG)
    assert {stage.name for stage in scenario.stages} == set(ENGINES)
    assert all(stage.machine in scenario.machines for stage in scenario.stages)
    assert scenario.lead_s() >= 120


def test_every_profile_says_where_it_comes_from_and_survives_its_file() -> None:
    assert {profile.stage for profile in PROFILES} >= set(ENGINES)
    for profile in PROFILES:
        assert len(profile.source) > 40
        assert parse_profile(json.loads(dump_profile(profile)), "again") == profile


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "oven"}, "allowed"),
        ({"source": "somebody said so"}, "measured"),
        ({"points": []}, "at least one"),
        (
            {"points": [{"requests_s": 2, "p50_ms": 1, "p95_ms": 2}, {"requests_s": 1, "p50_ms": 1, "p95_ms": 2}]},
            "rise",
        ),
        ({"colour": "red"}, "not an engine profile"),
    ],
)
def test_profile_that_is_wrong_is_refused_with_its_file(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    values = {**json.loads(dump_profile(PROFILE)), **change}
    (tmp_path / "wrong.json").write_text(json.dumps(values))
    with pytest.raises(ProfileError, match=message) as raised:
        load_profiles(tmp_path)
    assert "wrong.json" in str(raised.value)
