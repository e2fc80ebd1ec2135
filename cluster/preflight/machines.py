"""Checks whether the replicas fit on the machines, by size, number and accelerator memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.config.pools import ReplicaConfig
from cluster.config.schema import VoxrayConfig
from cluster.config.topology import NodePoolConfig
from cluster.preflight.finding import Finding, Inspection, Rule
from cluster.render.environment import HAPROXY_MAX_CONNECTIONS
from cluster.render.placement import Placed, deployments_of

# Memory an engine needs besides its weights (activations, CUDA graphs, fragmentation), as a share of them.
OVERHEAD = 1.15
_NEURON_DEGREES = (2, 8)
_WANTS = ("num_cpus", "num_gpus", "neuron_cores")
_OFFERS = {"num_cpus": "cpus", "num_gpus": "gpus", "neuron_cores": "neuron_cores"}


def _every_deployment_has_a_pool(inspection: Inspection) -> Iterator[Finding]:
    pools = inspection.config.topology.pools()
    if not pools:
        return
    for placed in deployments_of(inspection.config):
        if placed.machine not in pools:
            yield Finding(
                "no-pool",
                f"{placed.name} needs machines of the pool {placed.machine}, which has none",
                "its replicas wait for ever",
                f"topology.{placed.machine}.max_nodes above 0",
            )


def _every_replica_fits_on_a_machine(inspection: Inspection) -> Iterator[Finding]:
    for placed, pool in _placed(inspection.config):
        for want in _WANTS:
            wanted, offered = getattr(placed.replicas, want), getattr(pool, _OFFERS[want])
            if wanted > offered:
                yield Finding(
                    "replica-size",
                    f"a replica of {placed.name} asks for {want} = {wanted:g}, a machine of the pool {placed.machine} "
                    f"offers {offered:g}",
                    "its replicas wait for ever",
                    f"a larger machine (topology.{placed.machine}), or a smaller {want}",
                )


def _all_replicas_fit_on_all_machines(inspection: Inspection) -> Iterator[Finding]:
    for name, pool in inspection.config.topology.pools().items():
        members = [placed for placed, at in _placed(inspection.config) if at is pool]
        for count in ("min_replicas", "max_replicas"):
            wanted = [placed.replicas for placed in members for _ in range(getattr(placed.replicas, count))]
            if any(_is_too_large(replica, pool) for replica in wanted):
                continue  # already reported by the rule above
            needed = machines_for(wanted, pool)
            if needed > pool.max_nodes:
                yield Finding(
                    "too-few-nodes",
                    f"{count} of {', '.join(placed.name for placed in members)} need {needed} machines of the pool "
                    f"{name}, which has at most {pool.max_nodes}",
                    "the last replicas wait for ever, and even with the smallest numbers no roll-out ends",
                    f"topology.{name}.max_nodes: {needed}, or a smaller {count}",
                )
                break


def _rollouts_have_room(inspection: Inspection) -> Iterator[Finding]:
    for name, pool in inspection.config.topology.pools().items():
        members = [placed for placed, at in _placed(inspection.config) if at is pool]
        wanted = [placed.replicas for placed in members for _ in range(_during_rollout(placed.replicas))]
        if any(_is_too_large(replica, pool) for replica in wanted):
            continue
        needed = machines_for(wanted, pool)
        if needed > pool.max_nodes >= machines_for(_smallest(members), pool):
            yield Finding(
                "no-room-to-roll",
                f"a roll-out of the smallest numbers of {', '.join(placed.name for placed in members)} needs {needed} "
                f"machines of the pool {name}, with old and new replicas side by side, and it has at most "
                f"{pool.max_nodes}",
                "new replicas wait for old ones to go, which wait for the new ones, so the roll-out never ends",
                f"topology.{name}.max_nodes: {needed}, or surge_percent: 0 (a stage then pauses while it rolls)",
            )


def _during_rollout(replicas: ReplicaConfig) -> int:
    return replicas.min_replicas + -(-replicas.min_replicas * replicas.surge_percent // 100)


def _smallest(members: list[Placed]) -> list[ReplicaConfig]:
    return [placed.replicas for placed in members for _ in range(placed.replicas.min_replicas)]


def machines_for(replicas: list[ReplicaConfig], pool: NodePoolConfig) -> int:
    """Return how many machines hold the replicas, placing large ones first (first fit decreasing)."""
    free: list[dict[str, float]] = []
    for replica in sorted(replicas, key=lambda item: [getattr(item, want) for want in reversed(_WANTS)], reverse=True):
        wanted = {want: float(getattr(replica, want)) for want in _WANTS}
        # A tolerance is needed, because fractions such as 0.4 + 0.6 must fill a GPU exactly.
        place = next((room for room in free if all(room[want] + 1e-6 >= wanted[want] for want in _WANTS)), None)
        if place is None:
            place = {want: float(getattr(pool, _OFFERS[want])) for want in _WANTS}
            free.append(place)
        for want in _WANTS:
            place[want] -= wanted[want]
    return len(free)


def _weights_fit_in_gpu_memory(inspection: Inspection) -> Iterator[Finding]:
    config = inspection.config
    for placed, pool in _placed(config):
        gpus, memory_bytes = placed.replicas.num_gpus, pool.gpu_memory_gib * 2**30
        if not gpus or not memory_bytes or placed.spec is None or not (uses := placed.spec.models(placed.pool)):
            continue
        model = uses[0].name
        weights = sum(_weights_bytes(inspection, use.name) for use in uses)
        share = getattr(placed.pool, "gpu_memory_utilization", min(gpus, 1.0))
        room = share * memory_bytes * max(1.0, gpus)
        if weights * OVERHEAD > room:
            yield Finding(
                "gpu-memory",
                f"{model} needs about {weights * OVERHEAD / 2**30:.1f} GiB, and a replica of {placed.name} has "
                f"{room / 2**30:.1f} GiB of GPU memory (share {share:g} of {pool.gpu_memory_gib:g} GiB)",
                "it fails while it loads, or pushes out what shares the GPU",
                f"a larger share or more GPUs for {placed.name}, a GPU with more memory (topology.{placed.machine}), "
                "or a smaller model",
            )


def _neuron_shapes_compile(inspection: Inspection) -> Iterator[Finding]:
    for placed in deployments_of(inspection.config):
        if placed.spec is None or not placed.spec.needs_neuron:
            continue
        if placed.replicas.neuron_cores not in _NEURON_DEGREES:
            yield Finding(
                "neuron-cores",
                f"{placed.name} has {placed.replicas.neuron_cores} NeuronCores, and models compile for 2 or 8",
                "the engine fails at its start (aws-neuron-sdk#1214, vllm-neuron#7)",
                "neuron_cores: 2 or 8",
            )
        model: Any = placed.pool
        if list(model.buckets) != sorted(set(model.buckets)) or model.buckets[-1:] < (model.max_model_len,):
            yield Finding(
                "neuron-buckets",
                f"{placed.key}.buckets is {list(model.buckets)}, with max_model_len = {model.max_model_len}",
                "nothing can be compiled for the longest prompts",
                f"rising lengths that end at {model.max_model_len} or above",
            )


def _calls_are_on_machines_that_stay(inspection: Inspection) -> Iterator[Finding]:
    for name, pool in inspection.config.topology.pools().items():
        if pool.is_spot and name != "ingest":
            yield Finding(
                "spot",
                f"topology.{name}.is_spot is true",
                "AWS reclaims the machine with two minutes' notice, and calls are longer",
                f"topology.{name}.is_spot: false; spot machines are for the pool ingest",
            )


def _haproxy_has_room_for_all_calls(inspection: Inspection) -> Iterator[Finding]:
    config = inspection.config
    gateway = config.gateway
    pool = config.topology.pools().get("gateway")
    cpus = pool.cpus if pool else config.ray.num_cpus
    at_once = max(1, min(gateway.replicas.max_replicas, int(cpus // max(gateway.replicas.num_cpus, 0.01))))
    if at_once * gateway.max_calls > HAPROXY_MAX_CONNECTIONS:
        yield Finding(
            "connections",
            f"{at_once} gateways of a machine take {at_once * gateway.max_calls} calls, its HAProxy "
            f"{HAPROXY_MAX_CONNECTIONS} connections",
            "callers wait in HAProxy's queue instead of being refused with a reason",
            f"gateway.max_calls at most {HAPROXY_MAX_CONNECTIONS // at_once}, or smaller machines",
        )


def _placed(config: VoxrayConfig) -> Iterator[tuple[Placed, NodePoolConfig]]:
    pools = config.topology.pools()
    for placed in deployments_of(config):
        if placed.machine in pools:
            yield placed, pools[placed.machine]


def _is_too_large(replica: ReplicaConfig, pool: NodePoolConfig) -> bool:
    return any(getattr(replica, want) > getattr(pool, _OFFERS[want]) for want in _WANTS)


def _weights_bytes(inspection: Inspection, model: str) -> int:
    entry = inspection.catalog.entries.get(model)
    return (entry.weights_bytes or entry.known_bytes or 0) if entry else 0


RULES: tuple[Rule, ...] = (
    _every_deployment_has_a_pool,
    _every_replica_fits_on_a_machine,
    _all_replicas_fit_on_all_machines,
    _rollouts_have_room,
    _weights_fit_in_gpu_memory,
    _neuron_shapes_compile,
    _calls_are_on_machines_that_stay,
    _haproxy_has_room_for_all_calls,
)
