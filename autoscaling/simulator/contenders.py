"""The policies that the simulator drives: ours, Ray Serve's default, and a fixed fleet."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from autoscaling.policy.application import (
    ApplicationLimits,
    ApplicationMemory,
    ApplicationSnapshot,
    StageShare,
    scale_application,
)
from autoscaling.policy.forecast import CallReading
from autoscaling.simulator.scenario import Scenario, StageModel

# More than any simulated trace needs, since bounds are not tested here.
UNBOUNDED = 1_000_000


@dataclass(frozen=True, slots=True)
class Look:
    """What a policy sees at one moment: counts with the age of the metrics, and the currently ordered replicas."""

    reading: CallReading
    week_min: float
    ordered: Mapping[str, int]


class Contender(Protocol):
    """A policy under test. Each run needs its own instance, because it may have memory."""

    name: str

    def decide(self, look: Look) -> Mapping[str, int]:
        """Return the replicas to order, by stage."""


class CallsContender:
    """Our policy, `policy.application.scale_application`, as it runs in the cluster."""

    name = "calls"

    def __init__(self, limits: ApplicationLimits) -> None:
        self._limits = limits
        self._memory = ApplicationMemory()

    def decide(self, look: Look) -> Mapping[str, int]:
        snapshot = ApplicationSnapshot(look.reading, look.week_min, look.ordered)
        decision, self._memory = scale_application(snapshot, self._memory, self._limits)
        return decision.replicas


def limits_for(scenario: Scenario, **changes: float) -> ApplicationLimits:
    """Return the limits that suit a scenario, with `changes` to their values."""
    shares = {
        stage.name: StageShare(
            stage.calls_per_replica, stage.min_replicas, UNBOUNDED, price_per_hour=scenario.price_per_hour(stage)
        )
        for stage in scenario.stages
    }
    return ApplicationLimits(shares, **{"lead_s": scenario.lead_s(), **changes})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class RayDefaults:
    """The default values of Ray Serve's `AutoscalingConfig`.

    Attributes:
        target_share: `target_ongoing_requests` as a share of what a replica holds within the latency target, as set by
            somebody who has measured the engines. Our rendered configuration uses 0.7 without a policy.
        is_as_it_comes: whether to use Ray's own default of 2 requests for every stage, regardless of engines.
    """

    target_share: float = 0.7
    is_as_it_comes: bool = False
    look_back_s: float = 30.0
    upscale_delay_s: float = 30.0
    downscale_delay_s: float = 600.0


@dataclass(slots=True)
class _StageDelay:
    direction: int = 0
    since_s: float = 0.0


@dataclass(slots=True)
class RayDefaultContender:
    """Ray Serve's `replica_queue_length_autoscaling_policy` with its delays, for each stage.

    Every stage sees ongoing requests in proportion to the calls. It is tested against Ray's own functions.
    """

    scenario: Scenario
    defaults: RayDefaults = field(default_factory=RayDefaults)
    name: str = "ray default"
    _seen: deque[tuple[float, float]] = field(default_factory=deque)
    _delays: dict[str, _StageDelay] = field(default_factory=dict)

    def decide(self, look: Look) -> Mapping[str, int]:
        now_s = look.reading.now_s
        self._seen.append((now_s, look.reading.calls))
        while now_s - self._seen[0][0] > self.defaults.look_back_s:
            self._seen.popleft()
        calls = sum(value for _, value in self._seen) / len(self._seen)
        return {
            stage.name: self._after_delay(
                stage.name,
                max(stage.min_replicas, math.ceil(calls / self._calls_wanted(stage) - 1e-9)),
                look.ordered[stage.name],
                now_s,
            )
            for stage in self.scenario.stages
        }

    def _calls_wanted(self, stage: StageModel) -> float:
        """Return the calls that Ray would have on each replica."""
        if self.defaults.is_as_it_comes:
            return stage.calls_at_two_requests
        return stage.calls_per_replica * self.defaults.target_share

    def _after_delay(self, stage: str, desired: int, ordered: int, now_s: float) -> int:
        delay = self._delays.setdefault(stage, _StageDelay())
        direction = (desired > ordered) - (desired < ordered)
        if direction != delay.direction:
            delay.direction, delay.since_s = direction, now_s
        wait_s = self.defaults.upscale_delay_s if direction > 0 else self.defaults.downscale_delay_s
        if direction == 0 or now_s - delay.since_s < wait_s:
            return ordered
        delay.direction = 0
        return desired


@dataclass(frozen=True, slots=True)
class FixedContender:
    """A fixed fleet all day, large enough for `calls`."""

    scenario: Scenario
    calls: float
    name: str = "fixed"

    def decide(self, look: Look) -> Mapping[str, int]:  # noqa: ARG002 - looks at nothing
        return {
            stage.name: max(stage.min_replicas, math.ceil(self.calls / stage.calls_per_replica))
            for stage in self.scenario.stages
        }
