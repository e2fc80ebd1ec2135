"""What is learnt of how fast a pool begins to answer: one that missed its budget every time of late is passed over."""

from __future__ import annotations

from collections import deque

# How long an outcome counts, how many must have missed, and how often a pool that is not waited for is tried anew.
MEMORY_MS = 180_000
LEAST_MISSES = 3
TRIAL_EVERY_MS = 20_000
# A request that was given up at the end of its budget began a little after the one who waits began to wait.
_SLACK_MS = 50
_MOST_OUTCOMES = 64


class PoolBudget:
    """The outcomes of one pool. Times are of a monotonic clock in ms.

    Args:
        budget_ms: time in which a first output is wanted.
    """

    def __init__(self, budget_ms: int) -> None:
        self._budget_ms = budget_ms
        self._outcomes: deque[tuple[int, bool]] = deque(maxlen=_MOST_OUTCOMES)
        self._tried_ms: int | None = None

    def note_output(self, elapsed_ms: int, now_ms: int) -> None:
        """A first output has come."""
        self._outcomes.append((now_ms, elapsed_ms <= self._budget_ms))

    def note_end(self, elapsed_ms: int, now_ms: int) -> None:
        """A request has ended without any output; one that was given up earlier than its budget says nothing."""
        if elapsed_ms + _SLACK_MS >= self._budget_ms:
            self._outcomes.append((now_ms, False))

    def is_missed(self, now_ms: int) -> bool:
        """Return whether the pool has missed its budget every time of late, and often enough to tell."""
        recent = [is_made for at_ms, is_made in self._outcomes if now_ms - at_ms <= MEMORY_MS]
        return len(recent) >= LEAST_MISSES and not any(recent)

    def begin_trial(self, now_ms: int) -> bool:
        """Return whether a trial is due; it is taken as begun then."""
        if self._tried_ms is not None and now_ms - self._tried_ms < TRIAL_EVERY_MS:
            return False
        self._tried_ms = now_ms
        return True
