"""What of the scaling settings reaches Serve."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.config.checks import problems_in
from cluster.config.pools import ReplicaConfig
from cluster.config.schema import GatewayConfig, ScalingConfig, VoxrayConfig
from cluster.render.placement import Placed, deployments_of
from cluster.render.scaling import LOOK_BACK_S, application_policy, replica_range, sharing_variables
from cluster.render.serve_config import configured_addresses, render_serve_config
from tests.unit.cluster.render.conftest import production

pytestmark = pytest.mark.unit


WIDE = {"min_replicas": 1, "max_replicas": 9, "calls": 40, "max_ongoing_requests": 500}


def scaled(pools: dict[str, Any] | None = None, **scaling: Any) -> VoxrayConfig:
    wide: dict[str, Any] = {"transcriber": {"default": {"replicas": WIDE}}}
    tree = {"gateway": {"replicas": WIDE}, "pools": wide | (pools or {}), "scaling": {"policy": "calls", **scaling}}
    return VoxrayConfig.model_validate(tree)


def two_pools(calls: float = 12.0) -> VoxrayConfig:
    neuron = {"max_replicas": 5, "calls": calls, "neuron_cores": 2}
    pools = {
        "default": {"replicas": {"max_replicas": 3, "calls": 60}},
        "neuron": {"engine": "neuron", "max_num_seqs": 16, "replicas": neuron},
    }
    return scaled({"language_model": pools})


def policies(config: VoxrayConfig) -> dict[str, Any]:
    """Return the arguments of each deployment's policy, of those that have one."""
    found = {placed.name: application_policy(config, placed) for placed in deployments_of(config)}
    return {name: policy["autoscaling_policy"]["policy_kwargs"] for name, policy in found.items() if policy}


def gateway_of(config: VoxrayConfig) -> Placed:
    return next(placed for placed in deployments_of(config) if placed.name == "Gateway")


def test_policy_holds_by_itself_so_serve_does_not_wait() -> None:
    bounds = replica_range(scaled(), gateway_of(scaled()))["autoscaling_config"]
    assert (bounds["upscale_delay_s"], bounds["downscale_delay_s"]) == (0, 0)
    assert bounds["look_back_period_s"] == LOOK_BACK_S
    assert "upscale_delay_s" not in replica_range(scaled(policy="ray"), gateway_of(scaled()))["autoscaling_config"]


def test_gateways_of_a_fixed_number_are_seen_all_the_same_since_they_count_the_calls() -> None:
    fixed = GatewayConfig(replicas=ReplicaConfig(min_replicas=2, max_replicas=2, calls=40, max_ongoing_requests=500))
    config = scaled().model_copy(update={"gateway": fixed})
    assert replica_range(config, gateway_of(config))["autoscaling_config"]["max_replicas"] == 2
    assert "Gateway" in policies(config)["Gateway"]["stages"]
    by_ray = config.model_copy(update={"scaling": ScalingConfig(policy="ray")})
    assert replica_range(by_ray, gateway_of(by_ray)) == {"num_replicas": 2}


def test_only_deployments_that_may_scale_are_the_policys() -> None:
    assert set(policies(scaled())) == {"Gateway", "Transcriber"}
    applications = render_serve_config(scaled(), configured_addresses(scaled()))["applications"]
    (fixed,) = next(item["deployments"] for item in applications if item["name"] == "synthesizer-default")
    assert fixed["num_replicas"] == 1


def test_requests_that_run_together_are_a_signal_of_the_language_model() -> None:
    pool = {"max_num_seqs": 77, "replicas": {"max_replicas": 3, "calls": 60}}
    config = scaled({"language_model": {"default": pool}})
    assert policies(config)["LanguageModel"]["share"]["signals"]["in_flight"] == 77


def test_mps_is_told_share_and_memory_of_each_replica_that_shares() -> None:
    replicas = ReplicaConfig(num_gpus=0.25, gpu_memory_bytes=3 * 2**30 + 1)
    config = VoxrayConfig(scaling=ScalingConfig(gpu_isolation="mps"))
    assert sharing_variables(config, replicas) == {
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=3073M",
    }
    assert sharing_variables(config, ReplicaConfig()) == {}
    assert sharing_variables(VoxrayConfig(), replicas) == {}


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (scaled(schedule=({"days": "never", "start": "08:00", "end": "09:00", "calls": 5},)), "schedule"),
        (scaled({"transcriber": {"default": {"replicas": {"max_replicas": 3}}}}), "transcriber.default.replicas.calls"),
        (scaled().model_copy(update={"gateway": GatewayConfig()}), "calls"),
        (two_pools(calls=0.0), "language_model.neuron.replicas.calls"),
    ],
)
def test_scaling_that_cannot_work_is_told(config: VoxrayConfig, key: str) -> None:
    assert any(key in ".".join(problem.path) for problem in problems_in(config))


def test_scaling_that_can_work_has_no_problem() -> None:
    assert not problems_in(scaled(schedule=({"start": "08:00", "end": "09:00", "calls": 5},)))


def test_each_pool_of_a_stage_scales_by_its_own_share() -> None:
    found = policies(two_pools())
    assert found["LanguageModel-neuron"]["share"]["signals"]["in_flight"] == 16
    assert found["LanguageModel-neuron"]["share"]["calls_per_replica"] == 12
    assert found["LanguageModel"]["share"]["calls_per_replica"] == 60


def test_profile_inferentia_scales_by_the_calls() -> None:
    config = production("inferentia")
    found = policies(config)
    assert set(found) == {"Gateway", "Transcriber", "Retriever", "LanguageModel", "Synthesizer"}
    shares = [policy["share"] for name, policy in found.items() if name != "Gateway"]
    assert all(share["calls_per_replica"] > 0 for share in shares)
    assert found["LanguageModel"]["share"]["signals"]["in_flight"] == 16
