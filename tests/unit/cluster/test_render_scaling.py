"""What of the scaling settings reaches Serve."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.config.checks import problems_in
from cluster.config.schema import (
    GatewayConfig,
    LanguageModelConfig,
    NeuronEngineConfig,
    NeuronReplicaConfig,
    ReplicaConfig,
    RoutingConfig,
    ScalingConfig,
    ScheduledCalls,
    TranscriberConfig,
    VoxrayConfig,
)
from cluster.render.placement import Placed, deployments_of
from cluster.render.scaling import LOOK_BACK_S, application_policy, replica_range, sharing_variables
from cluster.render.serve_config import configured_addresses, render_serve_config
from tests.unit.cluster.render.conftest import production

pytestmark = pytest.mark.unit


def scaled(**scaling: Any) -> VoxrayConfig:
    wide = ReplicaConfig(min_replicas=1, max_replicas=9, calls=40, max_ongoing_requests=500)
    return VoxrayConfig(
        gateway=GatewayConfig(replicas=wide),
        transcriber=TranscriberConfig(replicas=wide),
        scaling=ScalingConfig(**{"policy": "calls", **scaling}),
    )


def two_pools(calls: float = 12.0, **neuron_price: float) -> VoxrayConfig:
    model = LanguageModelConfig(
        replicas=ReplicaConfig(max_replicas=3, calls=60),
        neuron=NeuronEngineConfig(
            is_second_pool=True, max_num_seqs=16, replicas=NeuronReplicaConfig(max_replicas=5, calls=calls)
        ),
        routing=RoutingConfig(**neuron_price),
    )
    return scaled().model_copy(update={"language_model": model})


def gateway_of(config: VoxrayConfig) -> Placed:
    return next(placed for placed in deployments_of(config) if placed.name == "Gateway")


def test_policy_holds_by_itself_so_serve_does_not_wait() -> None:
    bounds = replica_range(scaled(), gateway_of(scaled()))["autoscaling_config"]
    assert (bounds["upscale_delay_s"], bounds["downscale_delay_s"]) == (0, 0)
    assert bounds["look_back_period_s"] == LOOK_BACK_S
    assert "upscale_delay_s" not in replica_range(scaled(policy="ray"), gateway_of(scaled()))["autoscaling_config"]


def test_gateways_of_a_fixed_number_are_seen_all_the_same_since_they_count_the_calls() -> None:
    fixed = ReplicaConfig(min_replicas=2, max_replicas=2, calls=40, max_ongoing_requests=500)
    config = scaled().model_copy(update={"gateway": GatewayConfig(replicas=fixed)})
    assert replica_range(config, gateway_of(config))["autoscaling_config"]["max_replicas"] == 2
    assert "Gateway" in application_policy(config)["autoscaling_policy"]["policy_kwargs"]["stages"]
    by_ray = config.model_copy(update={"scaling": ScalingConfig(policy="ray")})
    assert replica_range(by_ray, gateway_of(by_ray)) == {"num_replicas": 2}


def test_only_deployments_that_may_scale_are_the_policys() -> None:
    rendered = render_serve_config(scaled(), configured_addresses(scaled()))["applications"][0]
    assert set(rendered["autoscaling_policy"]["policy_kwargs"]["stages"]) == {"Gateway", "Transcriber"}
    fixed = next(item for item in rendered["deployments"] if item["name"] == "Synthesizer")
    assert fixed["num_replicas"] == 1


def test_requests_that_run_together_are_a_signal_of_the_language_model() -> None:
    replicas = ReplicaConfig(max_replicas=3, calls=60)
    config = scaled().model_copy(update={"language_model": LanguageModelConfig(max_num_seqs=77, replicas=replicas)})
    stages = application_policy(config)["autoscaling_policy"]["policy_kwargs"]["stages"]
    assert stages["LanguageModel"]["signals"]["in_flight"] == 77


def test_mps_is_told_share_and_memory_of_each_replica_that_shares() -> None:
    replicas = ReplicaConfig(num_gpus=0.25, gpu_memory_bytes=3 * 2**30 + 1)
    config = VoxrayConfig(transcriber=TranscriberConfig(replicas=replicas), scaling=ScalingConfig(gpu_isolation="mps"))
    assert sharing_variables(config, config.transcriber.replicas) == {
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=3073M",
    }
    assert sharing_variables(config, config.synthesizer.replicas) == {}
    assert sharing_variables(config.model_copy(update={"scaling": ScalingConfig()}), config.transcriber.replicas) == {}


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (scaled(schedule=(ScheduledCalls(days="never", start="08:00", end="09:00", calls=5),)), "schedule"),
        (
            scaled().model_copy(update={"transcriber": TranscriberConfig(replicas=ReplicaConfig(max_replicas=3))}),
            "calls",
        ),
        (scaled().model_copy(update={"gateway": GatewayConfig()}), "calls"),
        (two_pools(calls=0.0), "neuron.replicas.calls"),
    ],
)
def test_scaling_that_cannot_work_is_told(config: VoxrayConfig, key: str) -> None:
    assert any(key in ".".join(problem.path) for problem in problems_in(config))


def test_scaling_that_can_work_has_no_problem() -> None:
    assert not problems_in(scaled(schedule=(ScheduledCalls(start="08:00", end="09:00", calls=5),)))


def test_both_pools_of_the_language_model_scale_and_the_cheaper_is_filled_first() -> None:
    config = two_pools()
    stages = application_policy(config)["autoscaling_policy"]["policy_kwargs"]["stages"]
    assert stages["LanguageModel"]["overflow_of"] == "LanguageModelNeuron"
    assert "overflow_of" not in stages["LanguageModelNeuron"]
    assert stages["LanguageModelNeuron"]["signals"]["in_flight"] == 16
    assert stages["LanguageModelNeuron"]["calls_per_replica"] == 12
    dear = application_policy(two_pools(neuron_price=9.0))["autoscaling_policy"]["policy_kwargs"]["stages"]
    assert dear["LanguageModelNeuron"]["overflow_of"] == "LanguageModel"


def test_pool_that_does_not_scale_leaves_the_other_all_calls() -> None:
    config = two_pools()
    fixed = config.language_model.neuron.model_copy(update={"replicas": NeuronReplicaConfig()})
    model = config.language_model.model_copy(update={"neuron": fixed})
    stages = application_policy(config.model_copy(update={"language_model": model}))["autoscaling_policy"]
    assert "overflow_of" not in stages["policy_kwargs"]["stages"]["LanguageModel"]


def test_profile_inferentia_scales_by_the_calls() -> None:
    config = production("inferentia")
    stages = application_policy(config)["autoscaling_policy"]["policy_kwargs"]["stages"]
    assert set(stages) == {"Gateway", "Transcriber", "Retriever", "LanguageModel", "Synthesizer"}
    assert all(stage["calls_per_replica"] > 0 for stage in stages.values())
    assert stages["LanguageModel"]["signals"]["in_flight"] == config.language_model.neuron.max_num_seqs
