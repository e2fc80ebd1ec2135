"""One budget of calls over all stages.

A call needs every stage at once, so the stages are not scaled one by one: the policy settles on C, the calls that the
application shall be able to hold, and gives each stage the replicas for C.

    C = the largest of   calls in progress, and those expected when a machine ordered now is ready (`forecast`),
                         with room for chance: z * sqrt(calls)
                         calls that the schedule says
        x (1 + headroom) + warm spares, held for `hold_s` on the way down, cut to what the cost ceiling pays for

Signals of a stage (`stages`) can add replicas to it: they tell when the profile that `calls_per_replica` came from was
too hopeful. Calls in progress are a floor that no ceiling lowers.
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
    """The application now.

    Attributes:
        reading: calls, arrivals and refusals over all gateways, with the time; None while the gateways are silent.
        week_min: minutes since Monday 0:00, for the schedule.
        targets: replicas ordered at present, by stage; kept as they are while the gateways are silent.
        stages: each stage's own signals; one without any may be left out.
    """

    reading: CallReading | None
    week_min: float
    targets: Mapping[str, int]
    stages: Mapping[str, StageSnapshot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageShare:
    """What one stage gives and costs.

    Attributes:
        calls_per_replica: within the latency target, by its profile.
        price_per_hour: of one replica: its part of a machine.
        signals: targets of the stage's own signals; empty: calls alone decide.
        overflow_of: the other pool of the same stage, which is filled first; this one gets the calls beyond what that
            one holds. "": a stage of one pool, or the pool that is filled first.
    """

    calls_per_replica: float
    min_replicas: int
    max_replicas: int
    price_per_hour: float = 0.0
    signals: Mapping[str, float] = field(default_factory=dict)
    overflow_of: str = ""

    def replicas_for(self, calls: float) -> int:
        """Return the replicas that hold `calls`, within the bounds."""
        wanted = math.ceil(calls / self.calls_per_replica - 1e-9)
        return max(self.min_replicas, min(self.max_replicas, wanted))


@dataclass(frozen=True, slots=True)
class ApplicationLimits:
    """What binds the application.

    Attributes:
        stages: by name.
        lead_s: from an order to a replica that serves, on a machine that does not run yet.
        headroom: share of the expected calls that is kept free.
        deviations: how many standard deviations of a Poisson count are kept free.
        warm_calls: room kept above all else, for what nothing foretells.
        hold_s: how long a larger C is kept.
        period_s: between two decisions.
        ceiling_per_hour: most that replicas may cost; 0: no ceiling.
        schedule: calls that are known to come.
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
    """Replicas by stage; `calls` is the C they hold; `is_capped` when the ceiling cut it."""

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
        # Silence is no proof that nobody calls: change nothing.
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
    """Return the calls to be able to hold, before holding and ceiling."""
    expected = max(reading.calls, anticipated_calls(forecast, reading, limits.lead_s))
    expected = expected * (1 + limits.headroom) + limits.deviations * math.sqrt(expected)
    return max(expected, scheduled_calls(limits.schedule, week_min, limits.lead_s)) + limits.warm_calls


def replicas_by_stage(calls: float, limits: ApplicationLimits, broken: frozenset[str] = frozenset()) -> dict[str, int]:
    """Return the replicas of each stage that hold `calls`; `broken` pools hold none, whatever is ordered of them."""
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
    """Return the pools of which nothing runs: until something does, the calls are the other pool's."""
    firsts = {share.overflow_of for share in limits.stages.values() if share.overflow_of}
    return frozenset(name for name in firsts if name in snapshot.stages and snapshot.stages[name].replicas == 0)


def _affordable(calls: float, limits: ApplicationLimits) -> float:
    """Return the most calls, at most `calls`, whose replicas the ceiling pays for."""
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
    """Return what the stages' own signals want; under a ceiling they may not add."""
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
