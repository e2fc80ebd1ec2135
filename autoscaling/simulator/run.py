"""Simulates one day of calls with one policy, second by second.

In each second, replicas and machines that were ordered long enough ago start, calls end, and calls arrive. They are
admitted up to the gateways' limit and refused beyond it. If more calls are in progress than all stages hold within the
latency target, the second is an overload and **every call in progress has missed the target** for good. Every
`period_s` the policy looks and decides.

A call counts as missed if it was refused or saw one second of overload, the strictest reading of "within the SLO".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoscaling.policy.forecast import CallReading
from autoscaling.simulator.contenders import Contender, Look
from autoscaling.simulator.fleet import Fleet
from autoscaling.simulator.scenario import Scenario
from autoscaling.simulator.traces import HOUR_S, Trace

Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a policy on a trace.

    Attributes:
        calls: number of calls that arrived.
        refused: number of calls refused by admission.
        late: number of admitted calls with at least one second of overload.
        cost: cost of all machines, from their order to their end.
        accelerator_hours: hours of machines with an accelerator.
        series: values by second: "calls" in progress, "held" (capacity within the target) and "price" per hour.
    """

    policy: str
    trace: str
    calls: int
    refused: int
    late: int
    cost: float
    accelerator_hours: float
    ordered_machines: int
    peak_calls: int
    series: dict[str, Series] = field(repr=False, default_factory=dict)

    @property
    def missed_share(self) -> float:
        """Share of the calls that were refused or late."""
        return (self.refused + self.late) / self.calls if self.calls else 0.0


def simulate(
    trace: Trace, scenario: Scenario, contender: Contender, on_progress: Callable[[float], None] | None = None
) -> Outcome:
    """Simulate a trace with a policy. `on_progress` is called with the share that is done from time to time."""
    day = _Day(trace, scenario, contender)
    for second in range(trace.seconds):
        day.step(second)
        if on_progress and second % HOUR_S == 0:
            on_progress(second / trace.seconds)
    return day.outcome()


class _Day:
    """The state of a run."""

    def __init__(self, trace: Trace, scenario: Scenario, contender: Contender) -> None:
        self._trace, self._scenario, self._contender = trace, scenario, contender
        self._fleet = Fleet(scenario)
        self._first_call = np.concatenate(([0], np.cumsum(trace.arrivals)))
        # Calls that end in each second, and how many of them have not met an overload yet.
        self._ends = np.zeros(trace.seconds + int(trace.lengths_s.max(initial=0)) + 2, np.int64)
        self._clean_ends = self._ends.copy()
        self._in_progress = self._clean = self._refused = self._late = self._arrived = 0
        self._calls, self._held, self._price = (np.zeros(trace.seconds) for _ in range(3))
        self._accelerator_seconds = 0
        self._readings: list[CallReading] = []
        self._warm_start()

    def step(self, second: int) -> None:
        fleet = self._fleet
        fleet.advance(second)
        self._in_progress -= int(self._ends[second])
        self._clean -= int(self._clean_ends[second])
        held = fleet.held_calls()
        self._admit(second, int(held * self._scenario.admit_share))
        if self._in_progress > held:
            self._late += self._clean
            self._clean = 0
            self._clean_ends[second + 1 :] = 0
        self._calls[second], self._held[second] = self._in_progress, held
        if second % int(self._scenario.period_s) == 0:
            self._look(second)
            fleet.end_idle(second)
        self._price[second] = fleet.price_per_hour()
        self._accelerator_seconds += sum(
            len(nodes) for name, nodes in fleet.nodes.items() if self._scenario.machines[name].capacity[0] > 0
        )

    def outcome(self) -> Outcome:
        return Outcome(
            policy=self._contender.name,
            trace=self._trace.name,
            calls=int(self._first_call[-1]),
            refused=self._refused,
            late=self._late,
            cost=float(self._price.sum() / HOUR_S),
            accelerator_hours=self._accelerator_seconds / HOUR_S,
            ordered_machines=self._fleet.ordered_nodes,
            peak_calls=int(self._calls.max(initial=0)),
            series={"calls": self._calls, "held": self._held, "price": self._price},
        )

    def _warm_start(self) -> None:
        """Begin with room for the first calls and a fifth more under any policy, since a day follows another one."""
        for stage in self._scenario.stages:
            wanted = math.ceil(1.2 * int(self._trace.arrivals[0]) / stage.calls_per_replica)
            self._fleet.scale(stage, max(stage.min_replicas, wanted), -1e6)
        self._fleet.advance(0)

    def _admit(self, second: int, limit: int) -> None:
        arriving = int(self._trace.arrivals[second])
        if not arriving:
            return
        self._arrived += arriving
        admitted = max(0, min(arriving, limit - self._in_progress))
        self._refused += arriving - admitted
        if not admitted:
            return
        first = int(self._first_call[second])
        ends = second + self._trace.lengths_s[first : first + admitted]
        np.add.at(self._ends, ends, 1)
        np.add.at(self._clean_ends, ends, 1)
        self._in_progress += admitted
        self._clean += admitted

    def _look(self, second: int) -> None:
        self._readings.append(CallReading(second, self._in_progress, self._arrived, self._refused))
        old_s = second - self._scenario.metric_delay_s
        while len(self._readings) > 1 and self._readings[1].now_s <= old_s:
            self._readings.pop(0)
        seen = self._readings[0]
        look = self._seen(second, seen.calls, seen.arrivals, seen.refused)
        wanted = self._contender.decide(look)
        for stage in self._scenario.stages:
            self._fleet.scale(stage, max(wanted[stage.name], stage.min_replicas), second)

    def _seen(self, second: float, calls: float, arrivals: float = 0, refused: float = 0) -> Look:
        ordered = {name: len(replicas) for name, replicas in self._fleet.replicas.items()}
        week_min = self._trace.start_week_min + second / 60
        return Look(CallReading(second, calls, arrivals, refused), week_min, ordered)
