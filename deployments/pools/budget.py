"""Tracks how fast a pool begins to answer. A pool that has always missed its budget lately is passed over."""

from __future__ import annotations

from collections import deque

# How long an outcome counts, how many misses are needed, and how often a pool that is passed over is tried again.
MEMORY_MS = 180_000
LEAST_MISSES = 3
TRIAL_EVERY_MS = 20_000
# A request abandoned at the end of its budget had begun slightly after its caller started to wait.
_SLACK_MS = 50
_MOST_OUTCOMES = 64


class PoolBudget:
    """The outcomes of one pool. Times are in ms of a monotonic clock.

    Args:
        budget_ms: time within which a first output is expected.
    """

    def __init__(self, budget_ms: int) -> None:
        self._budget_ms = budget_ms
        self._outcomes: deque[tuple[int, bool]] = deque(maxlen=_MOST_OUTCOMES)
        self._tried_ms: int | None = None

    def note_output(self, elapsed_ms: int, now_ms: int) -> None:
        """Record that a first output has arrived."""
        self._outcomes.append((now_ms, elapsed_ms <= self._budget_ms))

    def note_end(self, elapsed_ms: int, now_ms: int) -> None:
        """Record a request that ended without output. It is ignored if it was abandoned before its budget was over."""
        if elapsed_ms + _SLACK_MS >= self._budget_ms:
            self._outcomes.append((now_ms, False))

    def is_missed(self, now_ms: int) -> bool:
        """Return whether the pool has always missed its budget lately, and often enough to be sure."""
        recent = [is_made for at_ms, is_made in self._outcomes if now_ms - at_ms <= MEMORY_MS]
        return len(recent) >= LEAST_MISSES and not any(recent)

    def begin_trial(self, now_ms: int) -> bool:
        """Return whether a trial is due. If so, it counts as begun."""
        if self._tried_ms is not None and now_ms - self._tried_ms < TRIAL_EVERY_MS:
            return False
        self._tried_ms = now_ms
        return True
