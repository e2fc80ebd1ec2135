"""Ray Serve's shapes around the pure policy: the only module of this package that knows them.

`CallsPolicy` is named in the rendered Serve configuration as the policy of the gateways' application, `PoolPolicy` as
that of each pool's. Serve's controller makes one for each application, calls it ten times a second with a context for
each deployment that may scale, and keeps its bounds around the answer. They meet on a board (`autoscaling.board`), so
that one budget of calls counts for all stages. Nothing of Ray is imported (contexts are read by attribute), so all of
it can be tested and pickled without.

Metrics come from the replicas (`record_autoscaling_stats`): "calls", "arrivals" and "refused" of the gateways, whatever
signals the targets name of the rest. Between two pushes the last value counts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

# By its module, not by its name: Serve pickles this module by value, and a board that came along would be a copy.
from autoscaling import board as shared
from autoscaling.policy.application import (
    ApplicationLimits,
    ApplicationMemory,
    ApplicationSnapshot,
    StageShare,
    scale_application,
)
from autoscaling.policy.forecast import CallReading
from autoscaling.policy.schedule import parse_entry
from autoscaling.policy.stages import StageLimits, StageSnapshot, VariantMemory, scale_variant

GATEWAY = "Gateway"
# A deployment whose name has this before a tenant's name is that tenant's variant of a stage, and may go to zero.
VARIANT_MARK = "--"
# What gateways tell of the pools of a stage of several: the place of each in the route, as "route_place:NAME".
ROUTE_PLACE = "route_place:"
_MONDAY_S = 4 * 86_400  # 1970-01-05


class CallsPolicy:
    """The policy of the gateways' application: one budget of calls for all stages.

    Args:
        stages: shares of the deployments of this very application: `calls_per_replica`, `price_per_hour`, `signals`,
            `overflow_of`. Bounds come with each context: Serve changes them in place, but replaces every replica of an
            application when the arguments of its policy change.
        limits: numbers of `ApplicationLimits`.
        variant_idle_s: how long a tenant's variant stays without use.
        schedule: entries of `days`, `start`, `end`, `calls`.
        utc_offset_min: zone of the schedule.
    """

    def __init__(
        self,
        stages: Mapping[str, Mapping[str, Any]],
        limits: Mapping[str, float],
        *,
        variant_idle_s: float,
        schedule: Sequence[Mapping[str, Any]] = (),
        utc_offset_min: int = 0,
    ) -> None:
        self._shares = dict(stages)
        entries = tuple(parse_entry(**entry) for entry in schedule)
        self._limits = ApplicationLimits({}, schedule=entries, **limits)
        self._offset_s = utc_offset_min * 60
        self._variant_idle_s = variant_idle_s
        self._memory = ApplicationMemory()
        self._variants: dict[str, VariantMemory] = {}
        self._counters = _Counters()

    def __call__(self, contexts: Mapping[Any, Any]) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
        """Return the replicas of each deployment, and no state: it is kept here."""
        now_s = _now_s(contexts)
        by_name = {context.deployment_name: context for context in contexts.values()}
        gateway = by_name.get(GATEWAY)
        posted = self._own(by_name, now_s) | shared.board().stages(now_s)
        snapshot = ApplicationSnapshot(
            reading=self._counters.read(gateway, now_s) if gateway else None,
            week_min=(now_s + self._offset_s - _MONDAY_S) / 60 % (7 * 24 * 60),
            targets={name: stage.target for name, stage in posted.items()},
            stages={name: stage.snapshot for name, stage in posted.items() if name != GATEWAY},
        )
        shares = _in_route({name: stage.share for name, stage in posted.items()}, gateway)
        decision, self._memory = scale_application(snapshot, self._memory, replace(self._limits, stages=shares))
        shared.board().decide(decision.replicas, now_s)
        wanted: dict[Any, int] = {}
        for deployment, context in contexts.items():
            name = context.deployment_name
            if VARIANT_MARK in name:
                wanted[deployment] = self._variant(name, context, now_s)
            elif name in decision.replicas:
                wanted[deployment] = decision.replicas[name]
        return wanted, {}

    def _own(self, by_name: Mapping[str, Any], now_s: float) -> dict[str, shared.PostedStage]:
        """Return the stages of this application; those of which no share is known are left out."""
        known = {name: share for name, share in self._shares.items() if name in by_name}
        return {name: _posted(share, by_name[name], now_s) for name, share in known.items()}

    def _variant(self, name: str, context: Any, now_s: float) -> int:
        share = self._shares.get(name.partition(VARIANT_MARK)[0])
        holds = float(share["calls_per_replica"]) if share else 1.0
        most = context.capacity_adjusted_max_replicas
        limits = StageLimits(holds, {}, 0, most, hold_s=self._variant_idle_s)
        snapshot = StageSnapshot(now_s, context.current_num_replicas, context.total_num_requests)
        decision, self._variants[name] = scale_variant(snapshot, self._variants.get(name, VariantMemory()), limits)
        return decision.replicas


class PoolPolicy:
    """The policy of one pool's application: says what the pool is like, and follows what is decided for all stages.

    Args:
        share: of the pool, as in `CallsPolicy`.
    """

    def __init__(self, share: Mapping[str, Any]) -> None:
        self._share = share

    def __call__(self, contexts: Mapping[Any, Any]) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
        """Return the replicas of the pool; while nobody decides (the gateways come up) they stay as they are."""
        now_s, board = _now_s(contexts), shared.board()
        wanted: dict[Any, int] = {}
        for deployment, context in contexts.items():
            board.post(context.deployment_name, _posted(self._share, context, now_s))
            decided = board.decided(context.deployment_name, now_s)
            wanted[deployment] = context.target_num_replicas if decided is None else decided
        return wanted, {}


def _posted(share: Mapping[str, Any], context: Any, now_s: float) -> shared.PostedStage:
    bounded = StageShare(
        **share,
        min_replicas=context.capacity_adjusted_min_replicas,
        max_replicas=context.capacity_adjusted_max_replicas,
    )
    return shared.PostedStage(_stage(context, now_s), bounded, context.target_num_replicas)


def _in_route(shares: Mapping[str, StageShare], gateway: Any) -> dict[str, StageShare]:
    """Return the shares, those of a route's last pool marked as taking what its first one does not hold."""
    told = (gateway.raw_metrics or {}) if gateway else {}
    places = {
        metric.removeprefix(ROUTE_PLACE): max(values.values())
        for metric in told
        if metric.startswith(ROUTE_PLACE) and (values := _latest(gateway, metric))
    }
    marked = dict(shares)
    by_stage: dict[str, list[str]] = {}
    for name in sorted(places, key=lambda name: places[name]):
        if name in shares:
            by_stage.setdefault(name.partition("-")[0], []).append(name)
    for names in by_stage.values():
        if len(names) > 1:
            marked[names[-1]] = replace(marked[names[-1]], overflow_of=names[0])
    return marked


class _Counters:
    """Sums counters over gateways that come and go: a replica that is gone keeps what it has counted."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, float]] = {"arrivals": {}, "refused": {}}
        self._totals = {"arrivals": 0.0, "refused": 0.0}

    def read(self, context: Any, now_s: float) -> CallReading | None:
        """Return the gateways' counts; None while none of them has said anything."""
        calls = _latest(context, "calls")
        if not calls:
            return None
        for name, seen in self._seen.items():
            for replica, value in _latest(context, name).items():
                # A replica that is seen for the first time has counted since it began, which is not long ago.
                self._totals[name] += max(0.0, value - seen.get(replica, 0.0))
                seen[replica] = value
        return CallReading(now_s, sum(calls.values()), self._totals["arrivals"], self._totals["refused"])


def _now_s(contexts: Mapping[Any, Any]) -> float:
    times = (context.current_time for context in contexts.values())
    return next((float(at) for at in times if at is not None), time.time())


def _latest(context: Any, metric: str) -> dict[str, float]:
    """Return the last value that each running replica has pushed."""
    series = (context.raw_metrics or {}).get(metric, {})
    return {str(replica): float(points[-1].value) for replica, points in series.items() if points}


def _stage(context: Any, now_s: float) -> StageSnapshot:
    """Return a stage with the readings of its worst replica."""
    readings = {
        metric: max(values.values()) for metric in (context.raw_metrics or {}) if (values := _latest(context, metric))
    }
    return StageSnapshot(now_s, context.current_num_replicas, context.total_num_requests, readings)
