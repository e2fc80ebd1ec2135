"""The simulated machines and stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from autoscaling.engine_profile import EngineProfile
from autoscaling.machines import MachineCatalog, MachineKind
from autoscaling.planning import Plan, demand_of, slot_of

# Resources of a machine in order: share of its accelerator, bytes of its memory, CPU cores.
Demand = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of machine.

    Attributes:
        capacity: accelerators (1.0 each), their memory, and CPU cores.
        price_per_hour: price, paid from the order to the end.
        boot_s: time from the order until replicas can start on it.
    """

    name: str
    capacity: Demand
    price_per_hour: float
    boot_s: float = 120.0


@dataclass(frozen=True, slots=True)
class StageModel:
    """One stage: where its replicas run and how much they hold.

    Attributes:
        machine: name of its kind of machine.
        demand: resources of one replica.
        calls_per_replica: calls that a replica holds within the latency target.
        start_s: time from placement on a running machine to the first request, mostly for loading weights.
        drain_s: how long a stopped replica keeps its place.
        calls_at_two_requests: number of calls at which a replica has two requests in flight on average or is saturated,
            which is where Ray Serve's default target leads.
    """

    name: str
    machine: str
    demand: Demand
    calls_per_replica: float
    start_s: float = 30.0
    drain_s: float = 10.0
    min_replicas: int = 1
    calls_at_two_requests: float = 2.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Machines, stages, and the rules of a simulation.

    Attributes:
        admit_share: calls that gateways admit, as a share of what the slowest stage holds within the latency target.
            Calls beyond 1 are served late.
        idle_s: how long a machine without replicas is kept.
        metric_delay_s: age of the metrics that a policy sees.
        period_s: time between two decisions of the policy.
    """

    machines: Mapping[str, Machine]
    stages: tuple[StageModel, ...]
    admit_share: float = 1.1
    idle_s: float = 60.0
    metric_delay_s: float = 2.0
    period_s: float = 5.0
    note: str = field(default="", compare=False)

    def lead_s(self) -> float:
        """Return the time from the order to a serving replica of the slowest stage on a machine that must boot."""
        return max(self.machines[stage.machine].boot_s + stage.start_s for stage in self.stages)

    def price_per_hour(self, stage: StageModel) -> float:
        """Return the price of the part of a machine that one replica takes, by its scarcest resource."""
        machine = self.machines[stage.machine]
        parts = (need / has for need, has in zip(stage.demand, machine.capacity, strict=True) if has > 0)
        return machine.price_per_hour * max(parts)


def scenario_of(plan: Plan, catalog: MachineCatalog) -> Scenario:
    """Return the scenario with the machines and stages of a plan.

    Stages that the plan places on one kind of machine share its machines. Whole machines are ordered, and the devices
    of a machine are treated as one pool.
    """
    kinds = {machine.name: machine for machine in catalog.machines}
    homes: dict[str, Counter[str]] = {stage.stage: Counter() for stage in plan.stages}
    for pattern, slots in plan.packing.patterns:
        for stage, count in zip(plan.stages, pattern.counts, strict=True):
            homes[stage.stage][pattern.slot.machine] += slots * count
    stages = []
    for stage in plan.stages:
        option = stage.option
        device = catalog.devices.get(option.profile.device)
        demand = demand_of(option.profile, option.share, plan.request.isolation, device)
        assert demand is not None, "the plan has placed it"
        stages.append(
            StageModel(
                stage.stage,
                homes[stage.stage].most_common(1)[0][0],
                (demand[0] / 1000, float(demand[1]), demand[2] / 1000),
                option.calls_per_replica,
                start_s=option.profile.start_s,
                # A gateway that is removed keeps its calls, whereas an engine only finishes its request.
                drain_s=600.0 if stage.stage == "gateway" else 10.0,
                calls_at_two_requests=calls_at_two_requests(stage.stage, option.profile, option.share),
            )
        )
    machines = {stage.machine: _machine(kinds[stage.machine], catalog) for stage in stages}
    return Scenario(machines, tuple(stages))


def calls_at_two_requests(stage: str, profile: EngineProfile, share: float) -> float:
    """Return the number of calls at which two requests are in flight, by Little's law along the profile's points.

    Beyond the last point a queue grows to two requests at once, so the last load is then the answer. At a gateway, a
    call is one request for as long as it lasts.
    """
    if stage == "gateway":
        return 2.0
    before_s, before_ongoing = 0.0, 0.0
    for point in profile.points:
        ongoing = point.requests_s * point.p50_ms / 1000
        if ongoing >= 2:
            part = (2 - before_ongoing) / (ongoing - before_ongoing)
            before_s += part * (point.requests_s - before_s)
            break
        before_s, before_ongoing = point.requests_s, ongoing
    return before_s * share / profile.requests_per_call_s


def _machine(kind: MachineKind, catalog: MachineCatalog) -> Machine:
    slot = slot_of(kind, catalog.devices.get(kind.device))
    share, memory, cores = (amount * slot.slots_per_machine for amount in slot.capacity[:3])
    return Machine(kind.name, (share / 1000, float(memory), cores / 1000), kind.price_per_hour, kind.boot_s)
