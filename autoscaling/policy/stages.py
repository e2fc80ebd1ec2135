"""One policy for each stage: the signals that callers suffer from, and the number of replicas that relieves them.

| stage | signals (of the replica that is worst off) |
|---|---|
| gateway | share of its places that calls hold |
| transcriber | whole utterances: share of the time in which it works, lag: what waiting adds to a recognition; |
|             | streams: share of its slots that utterances hold, lag: how late its ticks are |
| retriever | lag: what waiting adds to a search; age of the queue: what it adds to the one that waits |
| language model | requests in flight of those that run together, requests that wait in the engine, time to the first
  token and to the first clause, KV cache in use |
| synthesizer | time to the first audio, real-time factor |

A signal at its target asks for the existing replicas, and above it for proportionally more. The most demanding signal
decides. Scaling up is immediate but by at most `GROWTH`. Scaling down requires that every signal has been low for
`hold_s`, and never goes below the calls or requests in progress.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from autoscaling.policy.holding import Peaks, hold_peak

# Between this share of the target and the target nothing changes, so that the count does not oscillate.
_COMFORT = 0.8
# A latency shows that there are too few replicas but not how many, so one step grows by at most half.
GROWTH = 1.5

# Upper limits of each stage's signals, with times in ms and shares of 1. A signal that is not reported is ignored.
TARGETS: Mapping[str, Mapping[str, float]] = {
    "gateway": {"occupancy": 0.85},
    "transcriber": {"busy": 0.85, "occupancy": 0.7, "lag_ms": 250.0},
    "retriever": {"lag_ms": 100.0, "queue_age_ms": 150.0},
    "language_model": {"first_output_ms": 800.0, "first_token_ms": 500.0, "waiting": 1.0, "kv_use": 0.85},
    "synthesizer": {"first_output_ms": 300.0, "real_time_factor": 0.7},
}


@dataclass(frozen=True, slots=True)
class StageSnapshot:
    """The current state of one stage.

    Attributes:
        now_s: time in seconds of any monotonic clock.
        replicas: number of running replicas.
        in_progress: total of calls (gateway) or requests (engines) in progress.
        readings: value of each signal at the worst replica. A missing signal is ignored.
    """

    now_s: float
    replicas: int
    in_progress: float = 0.0
    readings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageLimits:
    """The limits of one stage.

    Attributes:
        holds: number of calls or requests that one replica holds.
        targets: value that each signal must stay under.
        min_replicas, max_replicas: bounds on the number of replicas.
        hold_s: how long all signals must have been low before replicas are removed.
    """

    holds: float
    targets: Mapping[str, float]
    min_replicas: int
    max_replicas: int
    hold_s: float

    def bound(self, replicas: float, floor: int = 0) -> int:
        """Return a count within the bounds. `floor` (what is in progress) may raise the minimum but not the maximum."""
        return max(self.min_replicas, min(self.max_replicas, max(math.ceil(replicas), floor)))


@dataclass(frozen=True, slots=True)
class StageMemory:
    """The wanted counts of the recent past."""

    peaks: Peaks = ()


@dataclass(frozen=True, slots=True)
class StageDecision:
    """The number of replicas, and the signal that decided it ("" if none did)."""

    replicas: int
    pressed_by: str = ""


def scale_stage(snapshot: StageSnapshot, memory: StageMemory, limits: StageLimits) -> tuple[StageDecision, StageMemory]:
    """Decide one stage by its own signals."""
    floor = math.ceil(snapshot.in_progress / limits.holds - 1e-9)
    if snapshot.replicas == 0:
        return StageDecision(limits.bound(min(floor, 1), floor)), memory
    pressure, name = pressure_of(snapshot.readings, limits.targets)
    wanted = snapshot.replicas * _step(pressure)
    held, peaks = hold_peak(memory.peaks, snapshot.now_s, wanted, limits.hold_s)
    return StageDecision(limits.bound(held, floor), name if pressure > 1 else ""), StageMemory(peaks)


def pressure_of(readings: Mapping[str, float], targets: Mapping[str, float]) -> tuple[float, str]:
    """Return the largest ratio of a reading to its target, with its signal, or (1, "") if nothing is known."""
    ratios = [(readings[name] / target, name) for name, target in targets.items() if name in readings and target > 0]
    return max(ratios, default=(1.0, ""))


def _step(pressure: float) -> float:
    """Return the factor by which a pressure changes the number of replicas."""
    if pressure > 1:
        return min(pressure, GROWTH)
    return 1.0 if pressure >= _COMFORT else pressure / _COMFORT


@dataclass(frozen=True, slots=True)
class VariantMemory:
    """When a tenant's variant was last used; None if it was not seen yet."""

    used_s: float | None = None


def scale_variant(
    snapshot: StageSnapshot, memory: VariantMemory, limits: StageLimits
) -> tuple[StageDecision, VariantMemory]:
    """Scale one tenant's model variant, to zero once nobody has used it for `limits.hold_s`.

    The first request after that waits for a start. Requests in progress are never cut off.
    """
    is_used = snapshot.in_progress > 0
    used_s = snapshot.now_s if is_used or memory.used_s is None else memory.used_s
    floor = math.ceil(snapshot.in_progress / limits.holds - 1e-9)
    if not is_used and snapshot.now_s - used_s >= limits.hold_s:
        return StageDecision(0), VariantMemory(used_s)
    wanted = max(floor, min(snapshot.replicas, 1))
    return StageDecision(min(limits.max_replicas, wanted)), VariantMemory(used_s)
