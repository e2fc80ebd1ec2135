"""The parts of a Serve configuration that set the numbers of replicas: fixed, by Ray's rule, or by our policy.

With `scaling.policy: calls` the gateways' application gets `autoscaling.ray_adapter:CallsPolicy` and each pool's
`PoolPolicy`, and Serve's own delays are set to zero, because the policy itself holds its decisions.
"""

from __future__ import annotations

from typing import Any

from autoscaling.policy.stages import TARGETS
from cluster.config.pools import ReplicaConfig
from cluster.config.schema import VoxrayConfig
from cluster.render.placement import Placed
from pipelines.errors import Component

POLICY = "autoscaling.ray_adapter:CallsPolicy"
POOL_POLICY = "autoscaling.ray_adapter:PoolPolicy"
# Metrics are pushed every 2 s (`lifecycle.head`) and the last one counts, but Serve requires a window of over 10 s.
LOOK_BACK_S = 12
_MIB = 2**20


def replica_range(config: VoxrayConfig, placed: Placed) -> dict[str, Any]:
    """Return the fixed number of a deployment's replicas, or the bounds within which it scales."""
    replicas = placed.replicas
    if not _is_scaled(config, placed):
        return {"num_replicas": replicas.min_replicas}
    bounds: dict[str, Any] = {
        "min_replicas": replicas.min_replicas,
        "max_replicas": replicas.max_replicas,
        # Leave room, since a full replica refuses requests and a new one takes time to start.
        "target_ongoing_requests": max(1, replicas.max_ongoing_requests * 7 // 10),
    }
    if config.scaling.policy == "calls":
        bounds |= {"upscale_delay_s": 0, "downscale_delay_s": 0, "look_back_period_s": LOOK_BACK_S}
    return {"autoscaling_config": bounds}


def application_policy(config: VoxrayConfig, placed: Placed) -> dict[str, Any]:
    """Return the `autoscaling_policy` of a deployment's application, or nothing unless our policy scales it."""
    if config.scaling.policy != "calls" or not _is_scaled(config, placed):
        return {}
    if placed.pool is not None:
        return _policy(POOL_POLICY, {"share": _share(placed)})
    scaling = config.scaling
    arguments: dict[str, Any] = {
        "stages": {placed.name: _share(placed)},
        "limits": scaling.model_dump(
            include={
                "lead_s", "headroom", "deviations", "warm_calls", "hold_s", "period_s", "ceiling_per_hour",
            }
        ),
        "schedule": [entry.model_dump() for entry in scaling.schedule],
        "utc_offset_min": scaling.utc_offset_min,
        "variant_idle_s": scaling.variant_idle_s,
    }  # fmt: skip
    return _policy(POLICY, arguments)


def _policy(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"autoscaling_policy": {"policy_function": function, "policy_kwargs": arguments}}


def _is_scaled(config: VoxrayConfig, placed: Placed) -> bool:
    """Return whether Serve's policy sees a deployment. It always sees the gateways, since they count calls."""
    replicas = placed.replicas
    counts_calls = placed.pool is None and config.scaling.policy == "calls"
    return replicas.min_replicas < replicas.max_replicas or counts_calls


def _share(placed: Placed) -> dict[str, Any]:
    replicas = placed.replicas
    signals = {} if placed.pool is None else dict(TARGETS[placed.component.value])
    if placed.component is Component.LANGUAGE_MODEL:
        # Requests beyond the engine's batch wait. An engine without batches is never full.
        signals["in_flight"] = float(getattr(placed.pool, "max_num_seqs", replicas.max_ongoing_requests))
    return {
        "calls_per_replica": replicas.calls,
        "price_per_hour": replicas.price_per_hour,
        "signals": signals,
    }


def sharing_variables(config: VoxrayConfig, replicas: ReplicaConfig) -> dict[str, str]:
    """Return the MPS settings of a replica that shares a GPU: its memory and its share of the processors."""
    if config.scaling.gpu_isolation != "mps" or not 0 < replicas.num_gpus < 1:
        return {}
    variables = {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(max(1, round(replicas.num_gpus * 100)))}
    if replicas.gpu_memory_bytes:
        variables["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={-(-replicas.gpu_memory_bytes // _MIB)}M"
    return variables
