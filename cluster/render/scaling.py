"""The parts of a Serve configuration that say how many replicas there are: fixed, by Ray's rule, or by our policy.

With `scaling.policy: calls` the application gets `autoscaling.ray_adapter:CallsPolicy`, and Serve's own delays are set
to nothing: the policy holds what it has decided by itself.
"""

from __future__ import annotations

from typing import Any

from autoscaling.policy.stages import TARGETS
from cluster.config.schema import ReplicaConfig, VoxrayConfig
from cluster.render.placement import Placed, deployments_of

POLICY = "autoscaling.ray_adapter:CallsPolicy"
# Metrics are pushed every 2 s (`lifecycle.head`) and the last one counts; Serve wants to look back for more than 10 s.
LOOK_BACK_S = 12
_MIB = 2**20


def replica_range(config: VoxrayConfig, placed: Placed) -> dict[str, Any]:
    """Return the fixed number of a deployment, or the bounds within which it scales."""
    replicas = placed.replicas
    if not _is_scaled(config, placed):
        return {"num_replicas": replicas.min_replicas}
    bounds: dict[str, Any] = {
        "min_replicas": replicas.min_replicas,
        "max_replicas": replicas.max_replicas,
        # Leave room: a replica that is full refuses, and a new one takes time to come.
        "target_ongoing_requests": max(1, replicas.max_ongoing_requests * 7 // 10),
    }
    if config.scaling.policy == "calls":
        bounds |= {"upscale_delay_s": 0, "downscale_delay_s": 0, "look_back_period_s": LOOK_BACK_S}
    return {"autoscaling_config": bounds}


def application_policy(config: VoxrayConfig) -> dict[str, Any]:
    """Return the application's `autoscaling_policy`, or nothing when Ray's rule scales (or nothing does)."""
    if config.scaling.policy != "calls":
        return {}
    scaling = config.scaling
    arguments: dict[str, Any] = {
        "stages": {
            placed.name: _share(config, placed)
            for placed in deployments_of(config)
            if _is_scaled(config, placed)
        },
        "limits": scaling.model_dump(
            include={
                "lead_s", "headroom", "deviations", "warm_calls", "hold_s", "period_s", "ceiling_per_hour",
            }
        ),
        "schedule": [entry.model_dump() for entry in scaling.schedule],
        "utc_offset_min": scaling.utc_offset_min,
        "variant_idle_s": scaling.variant_idle_s,
    }  # fmt: skip
    return {"autoscaling_policy": {"policy_function": POLICY, "policy_kwargs": arguments}}


def _is_scaled(config: VoxrayConfig, placed: Placed) -> bool:
    """Whether Serve's policy sees a deployment; it sees the gateways even in a fixed number, since they count calls."""
    replicas = placed.replicas
    counts_calls = not placed.section and config.scaling.policy == "calls"
    return replicas.min_replicas < replicas.max_replicas or counts_calls


def _share(config: VoxrayConfig, placed: Placed) -> dict[str, Any]:
    replicas = placed.replicas
    signals = dict(TARGETS[placed.section]) if placed.section else {}
    model = config.language_model
    if placed.section == "language_model":
        # The batch of the Neuron pool is compiled, and much smaller.
        is_compiled = placed.is_second_pool or model.engine == "neuron"
        signals["in_flight"] = float(model.neuron.max_num_seqs if is_compiled else model.max_num_seqs)
    share: dict[str, Any] = {
        "calls_per_replica": replicas.calls,
        "price_per_hour": replicas.price_per_hour,
        "signals": signals,
    }
    return share | ({"overflow_of": _filled_first(config)} if placed.name == _filled_last(config) else {})


def _filled_first(config: VoxrayConfig) -> str:
    """Return the pool of the language model that the router asks first, as long as it answers in time."""
    routing = config.language_model.routing
    return "LanguageModelNeuron" if routing.neuron_price < routing.main_price else "LanguageModel"


def _filled_last(config: VoxrayConfig) -> str:
    """Return the pool that gets the calls beyond that; "" when there is one pool, or the first cannot be counted on."""
    pools = [placed for placed in deployments_of(config) if placed.section == "language_model"]
    if len(pools) < 2 or not all(_is_scaled(config, placed) for placed in pools):
        return ""
    return next(placed.name for placed in pools if placed.name != _filled_first(config))


def sharing_variables(config: VoxrayConfig, replicas: ReplicaConfig) -> dict[str, str]:
    """Return what the MPS daemon is told of a replica that shares a GPU: its memory, and its part of the processors."""
    if config.scaling.gpu_isolation != "mps" or not 0 < replicas.num_gpus < 1:
        return {}
    variables = {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(max(1, round(replicas.num_gpus * 100)))}
    if replicas.gpu_memory_bytes:
        variables["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={-(-replicas.gpu_memory_bytes // _MIB)}M"
    return variables
