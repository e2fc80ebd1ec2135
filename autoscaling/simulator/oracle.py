"""The cheapest fleet for somebody who knows the future, in which no call is refused or late.

In each second it has exactly the machines that the offered calls need, packed perfectly (the bound of each resource,
which no real placement beats). A machine is paid for from its order, `lead_s` before it must serve, and is kept if it
will be needed again sooner than that. For machines of one kind this is exact: machine k is wanted while at least k are
needed, and filling every gap shorter than the lead is a morphological closing of the count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaling.simulator.scenario import Scenario
from autoscaling.simulator.traces import HOUR_S, Trace

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OracleCost:
    """Cost of the day, accelerator machine hours, and the hourly price by second."""

    cost: float
    accelerator_hours: float
    price: NDArray[np.float64]


def oracle_cost(trace: Trace, scenario: Scenario) -> OracleCost:
    """Return the minimum cost of serving every call of a trace within the target."""
    offered = trace.offered_calls()
    cost, accelerator_s, price = 0.0, 0.0, np.zeros(trace.seconds)
    for name, machine in scenario.machines.items():
        needed = machines_needed(offered, scenario, name)
        lead_s = int(machine.boot_s + max((s.start_s for s in scenario.stages if s.machine == name), default=0))
        kept = _close_gaps(needed, lead_s)
        starts = int(np.maximum(np.diff(kept), 0).sum())
        seconds = float(kept.sum() + starts * lead_s)
        cost += seconds / HOUR_S * machine.price_per_hour
        accelerator_s += seconds if machine.capacity[0] > 0 else 0.0
        price += kept * machine.price_per_hour
    return OracleCost(cost, accelerator_s / HOUR_S, price)


def machines_needed(calls: Counts, scenario: Scenario, machine: str) -> Counts:
    """Return the minimum number of machines of a kind that hold `calls`, by second."""
    kind = scenario.machines[machine]
    total = np.zeros((len(calls), len(kind.capacity)))
    for stage in scenario.stages:
        if stage.machine == machine:
            replicas = np.maximum(stage.min_replicas, np.ceil(calls / stage.calls_per_replica - 1e-9))
            total += replicas[:, None] * np.asarray(stage.demand)
    capacity = np.asarray(kind.capacity)
    usable = capacity > 0
    needed: Counts = np.ceil((total[:, usable] / capacity[usable]).max(axis=1, initial=0) - 1e-9).astype(np.int64)
    return needed


def _close_gaps(counts: Counts, shorter_than: int) -> Counts:
    """Raise every valley that is shorter than `shorter_than` seconds to its lower edge."""
    if shorter_than < 2 or len(counts) < 2:
        return counts
    # Nothing is needed before the beginning and after the end.
    rim = np.zeros(shorter_than, np.int64)
    dilated = _sliding_max(np.concatenate((rim, counts, rim)), shorter_than)
    return -_sliding_max(-dilated, shorter_than)[1 : 1 + len(counts)]


def _sliding_max(values: Counts, window: int) -> Counts:
    """Return the maximum of each run of `window` values, by doubling: log2(window) passes."""
    result, width = values, 1
    while width < window:
        step = min(width, window - width)
        result = np.maximum(result[:-step], result[step:])
        width += step
    return result
