"""Measures how late the results of a streaming recogniser are, and for how long they have been."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence

_WINDOW_CHUNKS = 4096


class LagMeter:
    """Remembers the lags of the newest chunks. The recogniser's thread writes to it; any thread may read.

    Args:
        late_ms: a tick with a greater lag is late.
    """

    def __init__(self, late_ms: int) -> None:
        self._late_ms = late_ms
        self._lags: deque[int] = deque(maxlen=_WINDOW_CHUNKS)
        self._late_since_ms: int | None = None
        self._lock = threading.Lock()

    def record(self, lags_ms: Sequence[int], now_ms: int) -> None:
        """Record the lags of one tick."""
        with self._lock:
            self._lags.extend(lags_ms)
            if max(lags_ms, default=0) <= self._late_ms:
                self._late_since_ms = None
            elif self._late_since_ms is None:
                self._late_since_ms = now_ms

    def rest(self) -> None:
        """Note that nothing waits, so any lateness has been caught up."""
        with self._lock:
            self._late_since_ms = None

    def late_for_ms(self, now_ms: int) -> int:
        """Return for how many ms every tick has been late; 0 when the last one was on time."""
        with self._lock:
            return 0 if self._late_since_ms is None else max(0, now_ms - self._late_since_ms)

    def percentiles(self) -> dict[str, float]:
        """Return the p50, p95 and p99 of the newest lags, in ms; zeros before the first chunk."""
        with self._lock:
            lags = sorted(self._lags)
        ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
        return {name: float(lags[int(rank * (len(lags) - 1))]) if lags else 0.0 for name, rank in ranks.items()}


def streams_within(step_ms: Mapping[int, float], chunk_ms: int, share: float) -> int:
    """Return how many real-time streams can be stepped within `share` of each chunk's time, at least 1.

    More streams than the largest batch take several steps per chunk.

    Args:
        step_ms: duration of a step by its number of streams, with at least one entry.
        chunk_ms: time in which every stream delivers one chunk.
        share: share of the chunk's time (0.0 to 1.0). The rest is for finishes, bursts and the machine's other work.
    """
    budget_ms = chunk_ms * share
    largest = max(step_ms)
    full_steps = int(budget_ms // step_ms[largest])
    left_ms = budget_ms - full_steps * step_ms[largest]
    rest = max((size for size, took_ms in step_ms.items() if took_ms <= left_ms), default=0)
    return max(1, full_steps * largest + rest)
