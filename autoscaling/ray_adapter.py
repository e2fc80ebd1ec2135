"""Adapts the pure policy to Ray Serve. Only this module of the package knows Serve's data types.

`CallsPolicy` is named in the rendered Serve configuration as the policy of the gateways' application, `PoolPolicy` as
that of each pool's. Serve's controller creates one for each application, calls it ten times a second with a context for
each deployment that may scale, and applies its bounds to the answer. The policies share a board (`autoscaling.board`),
so that one budget of calls applies to all stages. Nothing of Ray is imported (contexts are read by attribute), so
everything can be tested and pickled without it.

Metrics come from the replicas (`record_autoscaling_stats`): "calls", "arrivals" and "refused" from the gateways, and
the signals named by the targets from the rest. Between two pushes the last value counts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

# The module is imported rather than the name, since Serve pickles this module by value and would copy the board.
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
# Separates the name of a stage from that of a tenant, whose variant of the stage may scale to zero.
VARIANT_MARK = "--"
# Prefix with which gateways report the place of each pool in a route of several, as "route_place:NAME".
ROUTE_PLACE = "route_place:"
_MONDAY_S = 4 * 86_400  # 1970-01-05


class CallsPolicy:
    """The policy of the gateways' application, with one budget of calls for all stages.

    Args:
        stages: shares of the deployments in this application: `calls_per_replica`, `price_per_hour`, `signals`,
            `overflow_of`. Bounds come with each context, because Serve changes them in place but replaces every replica
            of an application when the arguments of its policy change.
        limits: values for `ApplicationLimits`.
        variant_idle_s: how long an unused variant of a tenant is kept.
        schedule: entries of `days`, `start`, `end`, `calls`.
        utc_offset_min: time zone of the schedule, in minutes east of UTC.
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
        """Return the replicas of each deployment, without state, which is kept here."""
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
        """Return the stages of this application, leaving out those without a known share."""
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
    """The policy of one pool's application, which posts the pool's state and follows the decision for all stages.

    Args:
        share: the pool's share, as in `CallsPolicy`.
    """

    def __init__(self, share: Mapping[str, Any]) -> None:
        self._share = share

    def __call__(self, contexts: Mapping[Any, Any]) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
        """Return the replicas of the pool, which stay unchanged while nobody decides, as when the gateways start."""
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
    """Return the shares, with a route's last pool marked as taking what its first one cannot hold."""
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
    """Sums counters over gateways that come and go. What a vanished replica has counted is kept."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, float]] = {"arrivals": {}, "refused": {}}
        self._totals = {"arrivals": 0.0, "refused": 0.0}

    def read(self, context: Any, now_s: float) -> CallReading | None:
        """Return the gateways' counts, or None while none of them has reported."""
        calls = _latest(context, "calls")
        if not calls:
            return None
        for name, seen in self._seen.items():
            for replica, value in _latest(context, name).items():
                # A replica seen for the first time has counted since its start, which was recent.
                self._totals[name] += max(0.0, value - seen.get(replica, 0.0))
                seen[replica] = value
        return CallReading(now_s, sum(calls.values()), self._totals["arrivals"], self._totals["refused"])


def _now_s(contexts: Mapping[Any, Any]) -> float:
    times = (context.current_time for context in contexts.values())
    return next((float(at) for at in times if at is not None), time.time())


def _latest(context: Any, metric: str) -> dict[str, float]:
    """Return the last value pushed by each running replica."""
    series = (context.raw_metrics or {}).get(metric, {})
    return {str(replica): float(points[-1].value) for replica, points in series.items() if points}


def _stage(context: Any, now_s: float) -> StageSnapshot:
    """Return the snapshot of a stage with the readings of its worst replica."""
    readings = {
        metric: max(values.values()) for metric in (context.raw_metrics or {}) if (values := _latest(context, metric))
    }
    return StageSnapshot(now_s, context.current_num_replicas, context.total_num_requests, readings)
