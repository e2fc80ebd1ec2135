"""Ray Serve's shapes around the pure policy: the only module of this package that knows them.

`CallsPolicy` is named in the rendered Serve configuration as the application's policy. Serve's controller makes one,
calls it ten times a second with a context for each deployment that may scale, and keeps its bounds around the answer.
It imports nothing of Ray (contexts are read by attribute), so it can be tested and pickled without.

Metrics come from the replicas (`record_autoscaling_stats`): "calls", "arrivals" and "refused" of the gateways, whatever
signals the targets name of the rest. Between two pushes the last value counts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
_MONDAY_S = 4 * 86_400  # 1970-01-05


class CallsPolicy:
    """The application-level policy: one budget of calls for all stages. Made and called by Serve's controller.

    Args:
        stages: by deployment: `calls_per_replica`, `price_per_hour`, `signals`, `overflow_of`. Bounds come with each
            context: Serve changes them in place, but replaces every replica when the arguments of a policy change.
        limits: numbers of `ApplicationLimits`.
        schedule: entries of `days`, `start`, `end`, `calls`.
        utc_offset_min: zone of the schedule.
        variant_idle_s: how long a tenant's variant stays without use.
    """

    def __init__(
        self,
        stages: Mapping[str, Mapping[str, Any]],
        limits: Mapping[str, float],
        schedule: tuple[Mapping[str, Any], ...] = (),
        utc_offset_min: int = 0,
        variant_idle_s: float = 600.0,
    ) -> None:
        shares = {name: StageShare(**values) for name, values in stages.items()}
        entries = tuple(parse_entry(**entry) for entry in schedule)
        self._limits = ApplicationLimits(shares, schedule=entries, **limits)
        self._offset_s = utc_offset_min * 60
        self._variant_idle_s = variant_idle_s
        self._memory = ApplicationMemory()
        self._variants: dict[str, VariantMemory] = {}
        self._counters = _Counters()

    def __call__(self, contexts: Mapping[Any, Any]) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
        """Return the replicas of each deployment, and no state: it is kept here."""
        now_s = _now_s(contexts)
        by_name = {context.deployment_name: context for context in contexts.values()}
        snapshot = ApplicationSnapshot(
            reading=self._counters.read(by_name[GATEWAY], now_s) if GATEWAY in by_name else None,
            week_min=(now_s + self._offset_s - _MONDAY_S) / 60 % (7 * 24 * 60),
            targets={name: context.target_num_replicas for name, context in by_name.items()},
            stages={name: _stage(context, now_s) for name, context in by_name.items() if name != GATEWAY},
        )
        decision, self._memory = scale_application(snapshot, self._memory, self._bounded(by_name))
        wanted: dict[Any, int] = {}
        for deployment, context in contexts.items():
            name = context.deployment_name
            if VARIANT_MARK in name:
                wanted[deployment] = self._variant(name, context, now_s)
            elif name in decision.replicas:
                wanted[deployment] = decision.replicas[name]
        return wanted, {}

    def _bounded(self, by_name: Mapping[str, Any]) -> ApplicationLimits:
        """Return the limits with the bounds that the deployments have now; stages that are not there are left out."""
        stages = {
            name: replace(
                share,
                min_replicas=by_name[name].capacity_adjusted_min_replicas,
                max_replicas=by_name[name].capacity_adjusted_max_replicas,
            )
            for name, share in self._limits.stages.items()
            if name in by_name
        }
        return replace(self._limits, stages=stages)

    def _variant(self, name: str, context: Any, now_s: float) -> int:
        share = self._limits.stages.get(name.partition(VARIANT_MARK)[0])
        holds = share.calls_per_replica if share else 1.0
        most = context.capacity_adjusted_max_replicas
        limits = StageLimits(holds, {}, 0, most, hold_s=self._variant_idle_s)
        snapshot = StageSnapshot(now_s, context.current_num_replicas, context.total_num_requests)
        decision, self._variants[name] = scale_variant(snapshot, self._variants.get(name, VariantMemory()), limits)
        return decision.replicas


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
