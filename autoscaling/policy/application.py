"""Scales all stages by one budget of calls.

A call needs every stage at once, so the stages are not scaled one by one. The policy settles on C, the number of calls
that the application should be able to hold, and gives each stage the replicas for C.

    C = the largest of   calls in progress, and those expected when a machine ordered now is ready (`forecast`),
                         with room for chance: z * sqrt(calls)
                         calls that the schedule says
        x (1 + headroom) + warm spares, held for `hold_s` on the way down, cut to what the cost ceiling pays for

Signals of a stage (`stages`) can add replicas to it, since they show when the profile behind `calls_per_replica` was
too optimistic. Calls in progress are a floor that no ceiling lowers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from autoscaling.policy.forecast import CallReading, ForecastMemory, anticipated_calls, remember
from autoscaling.policy.holding import Peaks, hold_peak
from autoscaling.policy.schedule import ScheduleEntry, scheduled_calls
from autoscaling.policy.stages import StageDecision, StageLimits, StageMemory, StageSnapshot, scale_stage


@dataclass(frozen=True, slots=True)
class ApplicationSnapshot:
    """The current state of the application.

    Attributes:
        reading: time, calls, arrivals and refusals over all gateways; None while the gateways are silent.
        week_min: minutes since Monday 0:00, for the schedule.
        targets: currently ordered replicas by stage, which are kept while the gateways are silent.
        stages: each stage's own signals. A stage without any may be left out.
    """

    reading: CallReading | None
    week_min: float
    targets: Mapping[str, int]
    stages: Mapping[str, StageSnapshot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageShare:
    """The capacity and cost of one stage.

    Attributes:
        calls_per_replica: calls that a replica holds within the latency target, by its profile.
        price_per_hour: price of one replica's part of a machine.
        signals: targets of the stage's own signals. If empty, calls alone decide.
        overflow_of: the other pool of the same stage, which is filled first, while this one gets the calls beyond its
            capacity. "" for the pool that is filled first or a stage's only pool.
    """

    calls_per_replica: float
    min_replicas: int
    max_replicas: int
    price_per_hour: float = 0.0
    signals: Mapping[str, float] = field(default_factory=dict)
    overflow_of: str = ""

    def replicas_for(self, calls: float) -> int:
        """Return how many replicas hold `calls`, within the bounds."""
        wanted = math.ceil(calls / self.calls_per_replica - 1e-9)
        return max(self.min_replicas, min(self.max_replicas, wanted))


@dataclass(frozen=True, slots=True)
class ApplicationLimits:
    """The limits of the application.

    Attributes:
        stages: the stages by name.
        lead_s: time from the order to a serving replica, on a machine that is not running yet.
        headroom: share of the expected calls for which extra room is kept free.
        deviations: room kept free, in standard deviations of a Poisson count.
        warm_calls: number of calls for which room is kept free on top, for the unforeseeable.
        hold_s: how long a larger C is held.
        period_s: time between two decisions.
        ceiling_per_hour: maximum cost of the replicas; 0 for no ceiling.
        schedule: numbers of calls that are known in advance.
    """

    stages: Mapping[str, StageShare]
    lead_s: float = 180.0
    headroom: float = 0.06
    deviations: float = 3.0
    warm_calls: float = 0.0
    hold_s: float = 240.0
    period_s: float = 5.0
    ceiling_per_hour: float = 0.0
    schedule: tuple[ScheduleEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplicationDecision:
    """Replicas by stage. `calls` is the C they hold, and `is_capped` tells whether the ceiling reduced it."""

    replicas: Mapping[str, int]
    calls: float
    is_capped: bool = False
    pressed_by: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApplicationMemory:
    """History and the last decision."""

    forecast: ForecastMemory = field(default_factory=ForecastMemory)
    peaks: Peaks = ()
    stages: Mapping[str, StageMemory] = field(default_factory=dict)
    decided_s: float = -math.inf
    decision: ApplicationDecision | None = None


def scale_application(
    snapshot: ApplicationSnapshot, memory: ApplicationMemory, limits: ApplicationLimits
) -> tuple[ApplicationDecision, ApplicationMemory]:
    """Decide all stages together. Between two periods the last decision is repeated."""
    reading = snapshot.reading
    if reading is None:
        # Silence does not prove that nobody calls, so change nothing.
        targets = {name: snapshot.targets.get(name, share.min_replicas) for name, share in limits.stages.items()}
        return ApplicationDecision(targets, 0.0), memory
    if memory.decision is not None and 0 <= reading.now_s - memory.decided_s < limits.period_s:
        return memory.decision, memory
    forecast = remember(memory.forecast, reading)
    wanted = wanted_calls(reading, snapshot.week_min, forecast, limits)
    held, peaks = hold_peak(memory.peaks, reading.now_s, wanted, limits.hold_s)
    broken = _broken_pools(snapshot, limits)
    affordable = _affordable(held, limits)
    pressed, stage_memory = _pressed(snapshot, memory, limits, is_capped=affordable < held)
    for_room = replicas_by_stage(affordable, limits, broken)
    for_calls = replicas_by_stage(reading.calls, limits, broken)
    replicas = {
        name: max(for_room[name], for_calls[name], pressed[name].replicas if name in pressed else 0)
        for name in limits.stages
    }
    pressed_by = {name: stage.pressed_by for name, stage in pressed.items() if stage.pressed_by}
    decision = ApplicationDecision(replicas, affordable, affordable < held, pressed_by)
    return decision, ApplicationMemory(forecast, peaks, stage_memory, reading.now_s, decision)


def wanted_calls(reading: CallReading, week_min: float, forecast: ForecastMemory, limits: ApplicationLimits) -> float:
    """Return the wanted capacity in calls, before hold and ceiling are applied."""
    expected = max(reading.calls, anticipated_calls(forecast, reading, limits.lead_s))
    expected = expected * (1 + limits.headroom) + limits.deviations * math.sqrt(expected)
    return max(expected, scheduled_calls(limits.schedule, week_min, limits.lead_s)) + limits.warm_calls


def replicas_by_stage(calls: float, limits: ApplicationLimits, broken: frozenset[str] = frozenset()) -> dict[str, int]:
    """Return the replicas of each stage that hold `calls`; `broken` pools hold none, however many are ordered."""
    replicas: dict[str, int] = {}
    for name, share in limits.stages.items():
        first = limits.stages.get(share.overflow_of)
        rest = calls
        if first is not None and share.overflow_of not in broken:
            rest = max(0.0, calls - first.replicas_for(calls) * first.calls_per_replica)
        replicas[name] = share.replicas_for(rest)
    return replicas


def cost_per_hour(calls: float, limits: ApplicationLimits) -> float:
    """Return the price of the replicas that hold `calls`."""
    return sum(count * limits.stages[name].price_per_hour for name, count in replicas_by_stage(calls, limits).items())


def _broken_pools(snapshot: ApplicationSnapshot, limits: ApplicationLimits) -> frozenset[str]:
    """Return the pools without a running replica, whose calls go to the other pool until there is one."""
    firsts = {share.overflow_of for share in limits.stages.values() if share.overflow_of}
    return frozenset(name for name in firsts if name in snapshot.stages and snapshot.stages[name].replicas == 0)


def _affordable(calls: float, limits: ApplicationLimits) -> float:
    """Return the largest number of calls, up to `calls`, whose replicas the ceiling allows."""
    if limits.ceiling_per_hour <= 0 or cost_per_hour(calls, limits) <= limits.ceiling_per_hour:
        return calls
    low, high = 0.0, calls
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (middle, high) if cost_per_hour(middle, limits) <= limits.ceiling_per_hour else (low, middle)
    return low


def _pressed(
    snapshot: ApplicationSnapshot, memory: ApplicationMemory, limits: ApplicationLimits, *, is_capped: bool
) -> tuple[dict[str, StageDecision], dict[str, StageMemory]]:
    """Return the replicas wanted by the stages' own signals. Under a ceiling they may not add any."""
    decisions: dict[str, StageDecision] = {}
    memories: dict[str, StageMemory] = {}
    for name, share in limits.stages.items():
        stage = snapshot.stages.get(name)
        if stage is None or is_capped or not share.signals.keys() & stage.readings.keys():
            continue
        bounds = StageLimits(
            math.inf, share.signals, min_replicas=share.min_replicas, max_replicas=share.max_replicas,
            hold_s=limits.hold_s,
        )  # fmt: skip
        decision, memories[name] = scale_stage(stage, memory.stages.get(name, StageMemory()), bounds)
        decisions[name] = decision
    return decisions, memories
