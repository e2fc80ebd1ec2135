"""The policy behind Ray Serve's contexts (their real class; no cluster)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from autoscaling import board
from autoscaling.ray_adapter import CallsPolicy, PoolPolicy
from cluster.config.loading import load_config
from cluster.config.schema import VoxrayConfig
from cluster.render.placement import deployments_of
from cluster.render.scaling import application_policy

pytestmark = pytest.mark.unit

STAGES = {
    "Gateway": {"calls_per_replica": 50},
    "Transcriber": {"calls_per_replica": 10, "signals": {"lag_ms": 200}},
}
LIMITS = {"headroom": 0.0, "deviations": 0.0, "period_s": 1.0, "hold_s": 60.0}


@pytest.fixture(autouse=True)
def _empty_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "_BOARD", board.Board())


@dataclass(frozen=True)
class Point:
    """As `ray.serve._private.metrics_utils.TimeStampedValue`."""

    timestamp: float
    value: float


def context(name: str, now_s: float, replicas: int, metrics: dict[str, dict[str, float]], requests: float = 0) -> Any:
    """As `ray.serve.config.AutoscalingContext`, what the policy reads of it."""
    raw = {metric: {r: [Point(now_s, v)] for r, v in values.items()} for metric, values in metrics.items()}
    return SimpleNamespace(
        deployment_name=name,
        current_num_replicas=replicas,
        target_num_replicas=replicas,
        total_num_requests=requests,
        raw_metrics=raw,
        current_time=now_s,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=10 if name == "Gateway" else 50,
    )


def gateways(now_s: float, calls: dict[str, float], arrivals: dict[str, float] | None = None) -> Any:
    counted = arrivals or {}
    metrics = {"calls": calls, "arrivals": counted, "refused": dict.fromkeys(counted, 0.0)}
    return context("Gateway", now_s, len(calls) or 1, metrics)


def decide(policy: CallsPolicy | PoolPolicy, *contexts: Any) -> dict[str, int]:
    wanted, state = policy({("app", item.deployment_name): item for item in contexts})
    assert state == {}
    return {name: count for (_, name), count in wanted.items()}


def test_calls_of_all_gateways_decide_all_stages() -> None:
    policy = CallsPolicy(STAGES, LIMITS, variant_idle_s=600)
    wanted = decide(policy, gateways(0, {"a": 60, "b": 35}), context("Transcriber", 0, 1, {}))
    assert wanted == {"Gateway": 2, "Transcriber": 10}


def test_gateways_that_have_not_spoken_change_nothing() -> None:
    policy = CallsPolicy(STAGES, LIMITS, variant_idle_s=600)
    assert decide(policy, gateways(0, {}), context("Transcriber", 0, 7, {})) == {"Gateway": 1, "Transcriber": 7}


def test_bounds_are_those_that_the_deployment_has_now() -> None:
    policy = CallsPolicy(STAGES, LIMITS, variant_idle_s=600)
    narrow = context("Transcriber", 0, 1, {})
    narrow.capacity_adjusted_max_replicas = 4
    assert decide(policy, gateways(0, {"a": 95}), narrow)["Transcriber"] == 4
    narrow = context("Transcriber", 2, 4, {})
    narrow.capacity_adjusted_max_replicas = 9
    assert decide(policy, gateways(2, {"a": 95}), narrow)["Transcriber"] == 9


def test_worst_replica_of_a_stage_presses() -> None:
    policy = CallsPolicy(STAGES, LIMITS, variant_idle_s=600)
    lags = {"lag_ms": {"x": 10.0, "y": 300.0}}
    assert decide(policy, gateways(0, {"a": 10}), context("Transcriber", 0, 4, lags))["Transcriber"] == 6


def test_arrivals_are_summed_over_gateways_that_come_and_go() -> None:
    policy = CallsPolicy(STAGES, {**LIMITS, "lead_s": 180.0}, variant_idle_s=600)
    for step in range(40):
        counted = {"a": step * 50.0} if step < 20 else {"b": (step - 19) * 50.0}
        calls = dict.fromkeys(counted, 1800.0)
        wanted = decide(policy, gateways(step * 5.0, calls, counted), context("Transcriber", step * 5.0, 50, {}))
    # Ten a second all the time, and no jump where one gateway follows the other.
    assert wanted["Gateway"] == 10
    memory = policy._memory.forecast
    assert (memory.readings[-1].arrivals - memory.readings[0].arrivals) == pytest.approx(39 * 50, abs=50)


def test_variant_of_a_tenant_goes_to_zero_when_unused() -> None:
    policy = CallsPolicy(STAGES, LIMITS, variant_idle_s=100)
    used = context("Transcriber--acme", 0, 1, {}, requests=3)
    assert decide(policy, gateways(0, {"a": 5}), used)["Transcriber--acme"] == 1
    idle = context("Transcriber--acme", 101, 1, {})
    assert decide(policy, gateways(101, {"a": 5}), idle)["Transcriber--acme"] == 0


def test_deployment_that_the_policy_does_not_know_is_left_alone() -> None:
    policy = CallsPolicy(STAGES, LIMITS, variant_idle_s=600)
    assert "Other" not in decide(policy, gateways(0, {"a": 5}), context("Other", 0, 2, {}))


@pytest.mark.usefixtures("no_voxray_variables")
def test_rendered_arguments_make_the_policy() -> None:
    addresses = {
        "VOXRAY__SERVICES__REDIS__URL": "rediss://redis.internal:6379/0",
        "VOXRAY__SERVICES__MILVUS__URI": "https://milvus.internal:19530",
        "VOXRAY__SERVICES__SQL__URL": "postgresql://sql.internal/voxray",
        "VOXRAY__SERVICES__OBJECTS__URL": "s3://voxray/objects",
        "VOXRAY__SCALING__SCHEDULE": json.dumps([{"start": "08:00", "end": "18:00", "calls": 40}]),
    }
    config = load_config("nvidia", None, addresses)
    rendered = {
        placed.name: json.loads(json.dumps(application_policy(config, placed)["autoscaling_policy"]))
        for placed in deployments_of(config)
    }
    assert rendered["Gateway"]["policy_function"] == "autoscaling.ray_adapter:CallsPolicy"
    assert rendered["LanguageModel"]["policy_function"] == "autoscaling.ray_adapter:PoolPolicy"
    calls = CallsPolicy(**rendered["Gateway"]["policy_kwargs"])
    model = PoolPolicy(**rendered["LanguageModel"]["policy_kwargs"])
    nine_on_thursday = 9 * 3600.0  # 1970-01-01
    seen = context("LanguageModel", nine_on_thursday, 1, {})
    assert decide(model, seen) == {"LanguageModel": 1}  # nobody has decided yet
    assert decide(calls, gateways(nine_on_thursday, {"a": 0})) == {"Gateway": 1}
    assert decide(model, seen) == {"LanguageModel": 1}


def test_without_the_policy_nothing_is_rendered() -> None:
    config = VoxrayConfig()
    assert all(application_policy(config, placed) == {} for placed in deployments_of(config))


def test_pool_of_another_application_follows_the_calls_of_the_gateways() -> None:
    calls = CallsPolicy({"Gateway": STAGES["Gateway"]}, LIMITS, variant_idle_s=600)
    pool = PoolPolicy({"calls_per_replica": 10})
    seen = context("Transcriber", 0, 1, {})
    assert decide(pool, seen) == {"Transcriber": 1}
    decide(calls, gateways(0, {"a": 60, "b": 35}))
    assert decide(pool, seen) == {"Transcriber": 10}


def test_pool_stays_as_it_is_while_the_gateways_decide_nothing() -> None:
    calls = CallsPolicy({"Gateway": STAGES["Gateway"]}, LIMITS, variant_idle_s=600)
    pool = PoolPolicy({"calls_per_replica": 10})
    decide(pool, context("Transcriber", 0, 1, {}))
    decide(calls, gateways(0, {"a": 95}))
    later_s = board.FRESH_S + 1
    assert decide(pool, context("Transcriber", later_s, 4, {})) == {"Transcriber": 4}


def test_pool_that_is_gone_is_forgotten() -> None:
    calls = CallsPolicy({"Gateway": STAGES["Gateway"]}, LIMITS, variant_idle_s=600)
    decide(PoolPolicy({"calls_per_replica": 10}), context("Transcriber", 0, 1, {}))
    assert set(board.board().stages(0)) == {"Transcriber"}
    decide(calls, gateways(board.FRESH_S + 1, {"a": 5}))
    assert board.board().stages(board.FRESH_S + 1) == {}


@pytest.mark.parametrize(
    ("first", "last"), [("LanguageModel", "LanguageModel-neuron"), ("LanguageModel-neuron", "LanguageModel")]
)
def test_last_pool_of_a_route_gets_the_calls_beyond_the_first(first: str, last: str) -> None:
    calls = CallsPolicy({"Gateway": STAGES["Gateway"]}, LIMITS, variant_idle_s=600)
    pools = {name: PoolPolicy({"calls_per_replica": 10}) for name in (first, last)}
    for name, pool in pools.items():
        decide(pool, narrow(name, most=4))
    told = gateways(0, {"a": 55})
    told.raw_metrics |= {f"route_place:{name}": {"a": [Point(0, place)]} for place, name in enumerate((first, last))}
    decide(calls, told)
    wanted = {name: decide(pool, narrow(name, most=4))[name] for name, pool in pools.items()}
    assert wanted == {first: 4, last: 2}


def narrow(name: str, *, most: int) -> Any:
    bounded = context(name, 0, 1, {})
    bounded.capacity_adjusted_max_replicas = most
    return bounded
