"""Determines the settings that keep each engine within its share of a GPU's memory.

A plan is worthless if one engine takes all it can get. vLLM alone would fill the device, because Ray does not isolate
memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoscaling.engine_profile import EngineProfile
from autoscaling.machines import DeviceKind, Isolation

MIB = 2**20


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The memory limit of one replica.

    Attributes:
        limit_bytes: limit on device memory.
        settings: keys of the configuration, relative to the deployment's section.
        environment: variables of the replica's process.
        is_enforced: whether the limit is enforced, rather than left to the engine's usual behaviour.
    """

    limit_bytes: int
    settings: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    is_enforced: bool = True


def memory_limit(profile: EngineProfile, device: DeviceKind, share: float, isolation: Isolation) -> MemoryLimit:
    """Return the limit and settings of a replica whose engine has `share` of a device.

    * vLLM takes a fraction of the whole device (`gpu_memory_utilization`).
    * Under MPS the daemon enforces memory and processors for each client, whatever the engine.
    * A MIG instance is a separate device, so the fraction refers to the instance and nothing else is needed.
    """
    limit = profile.memory_bytes
    settings: dict[str, float] = {}
    environment: dict[str, str] = {}
    if profile.memory_control == "vllm":
        whole = device.memory_bytes if isolation is not Isolation.MIG else max(limit, 1)
        settings["gpu_memory_utilization"] = min(0.95, _rounded_up(limit / whole))
    if isolation is Isolation.MPS:
        environment["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={-(-limit // MIB)}M"
        environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(max(1, round(share * 100)))
    is_enforced = isolation is not Isolation.TIME_SLICE or profile.memory_control == "vllm"
    return MemoryLimit(limit, settings, environment, is_enforced)


def _rounded_up(fraction: float) -> float:
    return -(-fraction * 1000 // 1) / 1000
