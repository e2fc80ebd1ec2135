"""From a number of calls and a latency target to machines: how much of which device each stage gets, how hard each
replica is loaded, how many there are, and how they share devices.

    voice to voice, p95  =  silence before the draft begins + hops + p95 of each stage, one after the other

(the sum of the p95 exceeds the p95 of the sum, so the plan errs on the safe side). For each stage the options are all
devices with a profile, shares of them and loads on them; each has a latency and a price for all its replicas. The most
promising combinations within the target are packed onto real machines, and the cheapest packing wins.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autoscaling.engine_profile import EngineProfile
from autoscaling.machines import (
    MIG_COMPUTE_PARTS,
    MIG_MEMORY_PARTS,
    SHARING_LOSS,
    DeviceKind,
    Isolation,
    MachineCatalog,
    MachineKind,
    mig_size,
)
from autoscaling.memory_limits import MemoryLimit, memory_limit
from autoscaling.packing.model import Amounts, DoesNotFit, Item, Packing, SlotKind
from autoscaling.packing.packer import pack

SHARES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0)
LOADS = (0.25, 0.4, 0.5, 0.6, 0.7, 0.75)
# Beyond three quarters of an engine's sustained load, random arrivals cause queues that no profile shows.
MOST_LOADED = max(LOADS)
_PACKED_COMBINATIONS = 12
_PARTS = 1000


class NoPlan(ValueError):
    """The target cannot be met. The message says by how much, or what is missing."""


# Default share of the calls that a plan keeps free.
HEADROOM = 0.15


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The requirements of a plan.

    Attributes:
        calls: number of concurrent calls.
        slo_ms: target for the p95 of voice-to-voice latency.
        engines: model of each stage.
        headroom: share of calls that is kept free for chance and for dead replicas.
        silence_ms: silence after which a draft begins.
        hops_ms: total time of network and handles.
        isolation: how devices are shared where possible.
    """

    calls: int
    slo_ms: float
    engines: Mapping[str, str]
    headroom: float = HEADROOM
    silence_ms: float = 64.0
    hops_ms: float = 20.0
    isolation: Isolation = Isolation.TIME_SLICE

    @property
    def wanted(self) -> int:
        """Number of calls to have room for, including headroom."""
        return math.ceil(self.calls * (1 + self.headroom) - 1e-9)


@dataclass(frozen=True, slots=True)
class StageOption:
    """One way to run one stage.

    Attributes:
        parts: how many slots all its replicas take, by their scarcest resource.
        slot: the cheapest slot on which one replica fits.
    """

    profile: EngineProfile
    share: float
    latency_ms: float
    calls_per_replica: int
    load: float
    parts: float
    slot: SlotKind

    @property
    def price(self) -> float:
        """Price per hour of the parts."""
        return self.parts * self.slot.price


@dataclass(frozen=True, slots=True)
class StagePlan:
    """The decisions for a stage."""

    stage: str
    option: StageOption
    replicas: int
    memory: MemoryLimit | None

    @property
    def held_calls(self) -> int:
        return self.replicas * self.option.calls_per_replica


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan: machines, packing, and what follows from them."""

    request: PlanRequest
    stages: tuple[StagePlan, ...]
    packing: Packing
    latency_ms: float

    @property
    def held_calls(self) -> int:
        """Number of calls that the tightest stage holds within the target."""
        return min(stage.held_calls for stage in self.stages)

    @property
    def cost_per_call_minute(self) -> float:
        """Price of one minute of one call at full use."""
        return self.packing.price / 60 / self.request.calls


def make_plan(request: PlanRequest, profiles: Sequence[EngineProfile], catalog: MachineCatalog) -> Plan:
    """Return the cheapest plan found.

    Raises:
        NoPlan: an engine has no profile on any machine, or no combination meets the target.
    """
    options = {stage: _options(stage, engine, request, profiles, catalog) for stage, engine in request.engines.items()}
    budget_ms = request.slo_ms - request.silence_ms - request.hops_ms
    combinations = [
        combination for choice in _choices(options, catalog) for combination in _cheapest(choice, budget_ms)
    ]
    if not combinations:
        fastest = sum(min(option.latency_ms for option in stage) for stage in options.values())
        least_ms = fastest + request.silence_ms + request.hops_ms
        raise NoPlan(
            f"no combination of these engines and machines answers within {request.slo_ms:.0f} ms; "
            f"the fastest takes {least_ms:.0f} ms: raise --slo, or take faster machines or smaller models"
        )
    plans = (_packed(request, list(options), chosen, catalog) for chosen in combinations)
    return min(plans, key=lambda plan: (plan.packing.price, plan.latency_ms))


def _options(
    stage: str, engine: str, request: PlanRequest, profiles: Sequence[EngineProfile], catalog: MachineCatalog
) -> list[StageOption]:
    """Return every possible way to run a stage."""
    known = [profile for profile in profiles if profile.stage == stage and profile.engine == engine]
    usable = {machine.device for machine in catalog.machines}
    found = [
        option
        for profile in known
        if profile.device in usable
        for share in _shares(profile)
        for option in _loaded(profile, share, request, catalog)
    ]
    if not found:
        where = ", ".join(sorted({profile.device for profile in known})) or "no device"
        raise NoPlan(
            f"{stage}: the engine '{engine}' has a profile for {where}, and no such machine may be used or a replica "
            "fits on none; measure one there: voxray profile " + engine
        )
    return found


def _choices(
    options: Mapping[str, Sequence[StageOption]], catalog: MachineCatalog
) -> Iterator[list[list[StageOption]]]:
    """Yield the options to combine: all devices, and each accelerator alone, so that stages share machines."""
    yield [_front(stage) for stage in options.values()]
    for device in catalog.devices:
        alone = [[o for o in stage if o.profile.device in (device, "cpu")] for stage in options.values()]
        if all(alone):
            yield [_front(stage) for stage in alone]


def _front(options: Sequence[StageOption]) -> list[StageOption]:
    """Return the options that no other beats in both latency and price."""
    front: list[StageOption] = []
    for option in sorted(options, key=lambda option: (option.latency_ms, option.price)):
        if not front or option.price < front[-1].price - 1e-12:
            front.append(option)
    return front


def _shares(profile: EngineProfile) -> tuple[float, ...]:
    return (1.0,) if profile.needs_whole_device or profile.device == "cpu" else SHARES


def _loaded(
    profile: EngineProfile, share: float, request: PlanRequest, catalog: MachineCatalog
) -> Iterator[StageOption]:
    isolation = _isolation(request, catalog.devices.get(profile.device))
    usable = share if share == 1.0 else share * (1 - SHARING_LOSS[isolation])
    slot, part = _cheapest_slot(profile, share, request, catalog)
    if slot is None:
        return
    for load in LOADS:
        requests_s = profile.points[-1].requests_s * usable * load
        calls = int(requests_s / profile.requests_per_call_s)
        latency = profile.latency_ms(requests_s, usable, slowdown(share, isolation))
        if calls >= 1 and latency is not None:
            in_the_way = 0.0 if profile.stage == "gateway" else latency
            parts = part * math.ceil(request.wanted / calls)
            yield StageOption(profile, share, in_the_way, calls, load, parts, slot)


def _cheapest_slot(
    profile: EngineProfile, share: float, request: PlanRequest, catalog: MachineCatalog
) -> tuple[SlotKind | None, float]:
    """Return the slot on which a replica's part is cheapest, with that part, or None if it fits on none."""
    best: tuple[SlotKind | None, float] = (None, 0.0)
    for machine in catalog.machines:
        slot = slot_of(machine, catalog.devices.get(machine.device))
        demand = demand_of(profile, share, request.isolation, catalog.devices.get(machine.device))
        if machine.device != profile.device or demand is None:
            continue
        part = max(
            (need / have if have else math.inf for need, have in zip(demand, slot.capacity, strict=True) if need)
        )
        if part <= 1 and (best[0] is None or part * slot.price < best[1] * best[0].price):
            best = (slot, part)
    return best


def _cheapest(options: Sequence[Sequence[StageOption]], budget_ms: float) -> list[tuple[StageOption, ...]]:
    """Return the combinations within the budget that are likely to be cheapest."""
    within = (
        (_promised_price(combination), index, combination)
        for index, combination in enumerate(itertools.product(*options))
        if sum(option.latency_ms for option in combination) <= budget_ms
    )
    return [combination for _, _, combination in heapq.nsmallest(_PACKED_COMBINATIONS, within)]


def _promised_price(combination: Sequence[StageOption]) -> float:
    """Return the price of a combination if its parts fill whole machines perfectly."""
    parts: dict[SlotKind, float] = {}
    for option in combination:
        parts[option.slot] = parts.get(option.slot, 0.0) + option.parts
    return sum(
        math.ceil(needed / slot.slots_per_machine - 1e-9) * slot.slots_per_machine * slot.price
        for slot, needed in parts.items()
    )


def _packed(
    request: PlanRequest, stages: Sequence[str], chosen: Sequence[StageOption], catalog: MachineCatalog
) -> Plan:
    counts = [math.ceil(request.wanted / option.calls_per_replica) for option in chosen]
    items = []
    for stage, option, count in zip(stages, chosen, counts, strict=True):
        device = catalog.devices.get(option.profile.device)
        demand = demand_of(option.profile, option.share, request.isolation, device)
        if demand is None:
            raise DoesNotFit(f"{stage}: no part of {option.profile.device} is large enough")
        items.append(Item(stage, count, {option.profile.device: demand}))
    slots = [slot_of(machine, catalog.devices.get(machine.device)) for machine in catalog.machines]
    packing = pack(items, _with_cpu_everywhere(items, slots))
    plans = tuple(
        StagePlan(stage, option, count, _memory(option, request, catalog))
        for stage, option, count in zip(stages, chosen, counts, strict=True)
    )
    latency = request.silence_ms + request.hops_ms + sum(option.latency_ms for option in chosen)
    return Plan(request, plans, packing, latency)


def _with_cpu_everywhere(items: Sequence[Item], slots: Sequence[SlotKind]) -> list[SlotKind]:
    """Return the slots that some item can use.

    CPU replicas stay on CPU machines, so that they do not keep a GPU one alive.
    """
    devices = {device for item in items for device in item.demands}
    return [slot for slot in slots if slot.device in devices]


def _memory(option: StageOption, request: PlanRequest, catalog: MachineCatalog) -> MemoryLimit | None:
    device = catalog.devices.get(option.profile.device)
    if device is None:
        return None
    return memory_limit(option.profile, device, option.share, _isolation(request, device))


def _isolation(request: PlanRequest, device: DeviceKind | None) -> Isolation:
    """Return the requested mode if the device supports it, else time slices."""
    if device is None or request.isolation not in device.isolations:
        return Isolation.TIME_SLICE
    return request.isolation


def slowdown(share: float, isolation: Isolation) -> float:
    """Return how much longer a request takes on a share of a device.

    MPS (with its thread limit) and MIG give only a part of the processors, so the factor is 1/share. Time slices give
    all of them while the neighbours rest, and no plan keeps neighbours busy for more than `MOST_LOADED` of their share.
    """
    if isolation is Isolation.TIME_SLICE:
        return 1 / (1 - MOST_LOADED * (1 - share))
    return 1 / share


def slot_of(machine: MachineKind, device: DeviceKind | None) -> SlotKind:
    """Return the slot for one device of a machine, or for a machine without devices."""
    slots = max(machine.devices, 1)
    capacity: Amounts = (
        _PARTS if device else 0,
        device.usable_bytes if device else 0,
        machine.cpu_cores * _PARTS // slots,
        machine.memory_bytes // slots,
    )
    return SlotKind(machine.name, machine.device, capacity, machine.price_per_hour / slots, slots)


def demand_of(profile: EngineProfile, share: float, isolation: Isolation, device: DeviceKind | None) -> Amounts | None:
    """Return what one replica takes of a slot, or None if no part of the device is large enough."""
    cores = math.ceil(profile.cpu_cores * _PARTS)
    if device is None:
        return (0, 0, cores, profile.memory_bytes)
    if isolation not in device.isolations:
        isolation = Isolation.TIME_SLICE
    if isolation is not Isolation.MIG:
        return (math.ceil(share * _PARTS - 1e-6), profile.memory_bytes, cores, profile.host_memory_bytes)
    size = mig_size(share, profile.memory_bytes, device)
    if size is None:
        return None
    compute = math.floor(size.compute / MIG_COMPUTE_PARTS * _PARTS)
    memory = math.floor(device.usable_bytes * size.memory / MIG_MEMORY_PARTS)
    return (compute, memory, cores, profile.host_memory_bytes)
