"""What the simulated machines and stages are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Parts of a machine that replicas take: share of its accelerator, bytes of its memory, CPU cores.
Demand = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of machine.

    Attributes:
        capacity: share of accelerators (one each: 1.0), their memory, CPU cores.
        price_per_hour: paid from the order to the end.
        boot_s: from the order until replicas can start on it.
    """

    name: str
    capacity: Demand
    price_per_hour: float
    boot_s: float = 120.0


@dataclass(frozen=True, slots=True)
class StageModel:
    """One stage: where its replicas run and what they hold.

    Attributes:
        machine: name of its kind of machine.
        demand: of one replica.
        calls_per_replica: within the latency target.
        start_s: from a place on a running machine to the first request (the weights' load, mostly).
        drain_s: how long a replica that was told to go keeps its place.
    """

    name: str
    machine: str
    demand: Demand
    calls_per_replica: float
    start_s: float = 30.0
    drain_s: float = 10.0
    min_replicas: int = 1


@dataclass(frozen=True, slots=True)
class Scenario:
    """Machines, stages, and the rules around them.

    Attributes:
        admit_share: calls that gateways admit, as a share of what the slowest stage holds within the latency target.
            Calls between 1 and this are served and late.
        idle_s: how long a machine without replicas is kept.
        metric_delay_s: age of what a policy sees.
        period_s: between two looks of the policy.
    """

    machines: Mapping[str, Machine]
    stages: tuple[StageModel, ...]
    admit_share: float = 1.1
    idle_s: float = 60.0
    metric_delay_s: float = 2.0
    period_s: float = 5.0
    note: str = field(default="", compare=False)

    def lead_s(self) -> float:
        """Return the time from an order to a serving replica of the slowest stage, on a machine that must boot."""
        return max(self.machines[stage.machine].boot_s + stage.start_s for stage in self.stages)

    def price_per_hour(self, stage: StageModel) -> float:
        """Return what one replica costs: the part of its machine that it takes, by its scarcest resource."""
        machine = self.machines[stage.machine]
        parts = (need / has for need, has in zip(stage.demand, machine.capacity, strict=True) if has > 0)
        return machine.price_per_hour * max(parts)
