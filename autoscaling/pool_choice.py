"""Chooses the pool for a request when a stage's route names several.

It is pure: from what is known about each pool it returns an order of pools. The request goes to the first, and to the
next ones if the first fails before any output.

    the first of the route that is awake and answers in time     the rule, and nearly always the case
    the fastest of those that are awake                          when all are too slow
    the one that may be asked again soonest                      when all have failed

A pool's speed is judged by how long recent first outputs took and by how long its oldest request has been waiting. The
latter reveals a pool that has just become slow, before any answer does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

# Weight of the newest first output in the moving average.
NEWEST_SHARE = 0.3
# Measurements older than this are ignored. Otherwise a pool that was once slow would be avoided for ever.
STALE_MS = 30_000


@dataclass(frozen=True, slots=True)
class RestLimits:
    """How long a failed pool is left alone: `first_ms`, doubled with each failure in a row, at most `longest_ms`."""

    first_ms: int = 1_000
    longest_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class PoolView:
    """What a gateway knows about one pool.

    Attributes:
        first_output_ms: moving average of the time to the first output; None if never measured.
        measured_ms: time of the last measurement.
        failures: number of failures in a row.
        rests_until_ms: time before which it is not used, unless all others rest for longer.
    """

    name: str
    first_output_ms: float | None = None
    measured_ms: int = 0
    failures: int = 0
    rests_until_ms: int = 0

    def after_first_output(self, took_ms: float, now_ms: int) -> PoolView:
        """Return the view after a request's first output, which shows that the pool is healthy and how fast it is."""
        is_first = self.first_output_ms is None or now_ms - self.measured_ms > STALE_MS
        known = took_ms if is_first else (1 - NEWEST_SHARE) * (self.first_output_ms or 0.0) + NEWEST_SHARE * took_ms
        return replace(self, first_output_ms=known, measured_ms=now_ms, failures=0, rests_until_ms=0)

    def after_failure(self, now_ms: int, limits: RestLimits) -> PoolView:
        """Return the view after a failed request."""
        # The exponent is bounded, because a pool may fail for days.
        rest_ms = min(limits.longest_ms, limits.first_ms * 2 ** min(self.failures, 20))
        return replace(self, failures=self.failures + 1, rests_until_ms=now_ms + rest_ms)

    def expected_ms(self, now_ms: int, oldest_wait_ms: int) -> float:
        """Return the expected time to a first output now, or 0 if nothing speaks against the pool."""
        is_fresh = self.first_output_ms is not None and now_ms - self.measured_ms <= STALE_MS
        return max(self.first_output_ms or 0.0 if is_fresh else 0.0, float(oldest_wait_ms))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pool at the moment of a choice.

    `oldest_wait_ms` is how long its oldest request has waited for a first output.
    """

    view: PoolView
    oldest_wait_ms: int = 0


def order_of_pools(candidates: Iterable[Candidate], now_ms: int, budget_ms: int) -> list[str]:
    """Return the names of the pools in the order in which a request should try them.

    Args:
        candidates: the pools of the route, in its order.
        now_ms: time in ms of the caller's clock, with any origin.
        budget_ms: time within which a first output is expected.
    """

    def rank(placed: tuple[int, Candidate]) -> tuple[int, float, int]:
        place, candidate = placed
        view, expected_ms = candidate.view, candidate.view.expected_ms(now_ms, candidate.oldest_wait_ms)
        if view.rests_until_ms > now_ms:
            return (2, view.rests_until_ms, place)
        if expected_ms > budget_ms:
            return (1, expected_ms, place)
        return (0, 0.0, place)

    return [candidate.view.name for _, candidate in sorted(enumerate(candidates), key=rank)]
