"""Compares our policy with Ray Serve's default over many days, whichever target Ray is given.

Ray's default is a trade-off: a low target costs more and misses less. It is therefore tried at many targets, and what
it can achieve is a line through them, the **frontier** (the lower convex hull, since the target may change from day to
day and points between two targets are achievable too). A policy is better only if it lies below that line: at equal
cost Ray would miss more calls, and at equal misses Ray would cost more. Both are measured on the same days, so
differences between days cancel out, and the mean over days has an interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import fmean, stdev

import numpy as np

from autoscaling.simulator.contenders import (
    CallsContender,
    Contender,
    RayDefaultContender,
    RayDefaults,
    limits_for,
)
from autoscaling.simulator.oracle import oracle_cost
from autoscaling.simulator.run import simulate
from autoscaling.simulator.scenario import Scenario
from autoscaling.simulator.traces import GENERATORS

# The 0.975 quantile of Student's t by degrees of freedom. From 30 on, the normal distribution's is used.
_T_975 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13,
          2.12, 2.11, 2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """A policy's result for a day: its cost as a multiple of the oracle's, and the share of calls it missed."""

    cost: float
    missed: float


@dataclass(frozen=True, slots=True)
class Day:
    """One trace with one seed. `as_it_comes` is Ray's default with its own default target, 2 requests."""

    trace: str
    seed: int
    ours: Point
    rays: tuple[tuple[float, Point], ...]
    as_it_comes: Point

    @property
    def misses_saved(self) -> float:
        """Share of calls that Ray would miss at our cost, minus our share."""
        return missed_at(frontier(point for _, point in self.rays), self.ours.cost) - self.ours.missed

    @property
    def cost_saved(self) -> float:
        """Ray's cost at our misses minus our cost, in oracles. It is a lower bound if Ray never misses so few."""
        return cost_at(frontier(point for _, point in self.rays), self.ours.missed) - self.ours.cost

    @property
    def is_below(self) -> bool:
        """Whether our point lies below Ray's frontier on this day."""
        return self.misses_saved >= 0 and self.cost_saved > 0


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over days, and half its 95% interval (Student's t; 0 for a single day)."""

    value: float
    half: float

    @property
    def is_above_zero(self) -> bool:
        return self.value - self.half > 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """The simulated days of one trace."""

    trace: str
    days: tuple[Day, ...]

    def mean(self, figure: Callable[[Day], float]) -> Mean:
        values = [figure(day) for day in self.days]
        if len(values) < 2:
            return Mean(values[0], 0.0)
        quantile = _T_975[len(values) - 2] if len(values) - 2 < len(_T_975) else 1.96
        return Mean(fmean(values), quantile * stdev(values) / math.sqrt(len(values)))

    @property
    def is_below(self) -> bool:
        """Whether our policy is significantly better than Ray's whole frontier, in the mean over the days."""
        return self.mean(lambda d: d.misses_saved).is_above_zero and self.mean(lambda d: d.cost_saved).is_above_zero


def frontier(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return the lower convex hull of points, cheapest first, with misses that fall ever less steeply."""
    hull: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, p.missed)):
        if hull and point.missed >= hull[-1].missed:
            continue
        while len(hull) > 1 and _is_above(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return tuple(hull)


def missed_at(hull: Sequence[Point], cost: float) -> float:
    """Return the misses of a frontier at a cost. Below its cheapest point, that point's misses are returned."""
    return float(np.interp(cost, [p.cost for p in hull], [p.missed for p in hull]))


def cost_at(hull: Sequence[Point], missed: float) -> float:
    """Return the lowest cost of a frontier with at most these misses, else of its dearest point."""
    falling = list(reversed(hull))
    return float(np.interp(missed, [p.missed for p in falling], [p.cost for p in falling]))


@dataclass(frozen=True, slots=True)
class DayRequest:
    """The request to one process."""

    trace: str
    seed: int
    peak: int
    hours: float
    scenario: Scenario
    targets: tuple[float, ...]


def compare(
    requests: Sequence[DayRequest], on_day: Callable[[Day], None] | None = None, processes: int = 2
) -> list[Comparison]:
    """Simulate days in several processes, and return a comparison for each trace in the order of the requests."""
    days: dict[tuple[str, int], Day] = {}
    # Processes are spawned, because a progress bar's thread may hold a lock at the moment of a fork.
    with ProcessPoolExecutor(max_workers=processes, mp_context=get_context("spawn")) as pool:
        running: list[Future[Day]] = [pool.submit(simulated_day, request) for request in requests]
        for future in as_completed(running):
            day = future.result()
            days[day.trace, day.seed] = day
            if on_day:
                on_day(day)
    traces = dict.fromkeys(request.trace for request in requests)
    return [Comparison(name, tuple(days[r.trace, r.seed] for r in requests if r.trace == name)) for name in traces]


def simulated_day(request: DayRequest) -> Day:
    """Simulate one day with our policy, with Ray's default at each target, and with Ray's default as it comes."""
    scenario = request.scenario
    trace = GENERATORS[request.trace](request.peak, np.random.default_rng(request.seed), request.hours)
    oracle = oracle_cost(trace, scenario).cost

    def tried(contender: Contender) -> Point:
        outcome = simulate(trace, scenario, contender)
        return Point(outcome.cost / oracle, outcome.missed_share)

    rays = [(share, tried(RayDefaultContender(scenario, RayDefaults(target_share=share)))) for share in request.targets]
    return Day(
        request.trace,
        request.seed,
        tried(CallsContender(limits_for(scenario))),
        tuple(rays),
        tried(RayDefaultContender(scenario, RayDefaults(is_as_it_comes=True))),
    )


def _is_above(before: Point, middle: Point, after: Point) -> bool:
    """Return whether a point lies on or above the line between its neighbours."""
    rise = (middle.missed - before.missed) * (after.cost - before.cost)
    return rise >= (after.missed - before.missed) * (middle.cost - before.cost)
