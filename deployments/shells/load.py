"""What a replica reports about its load, for the scaling policy (`record_autoscaling_stats` of the shells).

Load is measured around the engine, so that every engine is measured alike: requests in flight, the share of time with
any in flight, the time to the first output, and how much of that is waiting.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Long enough for a p95 at one request per second, and short enough for a policy to see a change within seconds.
WINDOW_S = 20.0
_PERCENTILE = 0.95


@dataclass(slots=True)
class RequestLoad:
    """One request in flight. `audio_s` is how much audio it has produced, which stays 0 for engines without audio."""

    began_s: float
    first_s: float | None = None
    audio_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Done:
    at_s: float
    first_ms: float
    took_s: float
    audio_s: float


class LoadMeter:
    """Counts the requests of one replica. Used on one event loop; a cancelled request counts as ended.

    Args:
        clock: a monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[int, RequestLoad] = {}
        self._busy_since_s = clock()
        self._busy: deque[tuple[float, float]] = deque()
        self._done: deque[_Done] = deque()

    @contextmanager
    def request(self) -> Iterator[RequestLoad]:
        """Count a request until the end of the block."""
        load = RequestLoad(self._clock())
        if not self._open:
            self._busy_since_s = load.began_s
        self._open[id(load)] = load
        try:
            yield load
        finally:
            self._end(load)

    def first_output(self, load: RequestLoad) -> None:
        """Note the moment of the first output. Without any, the end of the request counts as the first output."""
        if load.first_s is None:
            load.first_s = self._clock()

    def stats(self) -> dict[str, float]:
        """Return the figures of the last `WINDOW_S`, leaving out unknown ones.

        * in_flight: number of requests at this moment.
        * busy: share of the time with a request in flight.
        * first_output_ms: p95 of the time to the first output.
        * lag_ms: `first_output_ms` minus the fastest of the window, which is what waiting adds.
        * queue_age_ms: how long the oldest request without output has waited, minus the fastest of the window. It
          reveals a queue before anything comes out of it.
        * real_time_factor: seconds of work per second of audio.
        """
        now_s = self._clock()
        self._forget(now_s)
        figures = {"in_flight": float(len(self._open)), "busy": self._busy_share(now_s)}
        firsts = sorted(done.first_ms for done in self._done)
        if firsts:
            slow_ms = firsts[min(len(firsts) - 1, int(_PERCENTILE * len(firsts)))]
            figures |= {"first_output_ms": slow_ms, "lag_ms": slow_ms - firsts[0]}
        waiting_since = [load.began_s for load in self._open.values() if load.first_s is None]
        if firsts or waiting_since:
            oldest_ms = (now_s - min(waiting_since, default=now_s)) * 1000
            figures["queue_age_ms"] = max(0.0, oldest_ms - (firsts[0] if firsts else 0.0))
        if (audio_s := sum(done.audio_s for done in self._done)) > 0:
            figures["real_time_factor"] = sum(done.took_s for done in self._done if done.audio_s) / audio_s
        return figures

    def _end(self, load: RequestLoad) -> None:
        now_s = self._clock()
        del self._open[id(load)]
        if not self._open:
            self._busy.append((self._busy_since_s, now_s))
        first_s = load.first_s if load.first_s is not None else now_s
        self._done.append(_Done(now_s, (first_s - load.began_s) * 1000, now_s - load.began_s, load.audio_s))
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        while self._done and now_s - self._done[0].at_s > WINDOW_S:
            self._done.popleft()
        while self._busy and now_s - self._busy[0][1] > WINDOW_S:
            self._busy.popleft()

    def _busy_share(self, now_s: float) -> float:
        since_s = now_s - WINDOW_S
        spans = [*self._busy, *([(self._busy_since_s, now_s)] if self._open else [])]
        return min(1.0, sum(end_s - max(start_s, since_s) for start_s, end_s in spans) / WINDOW_S)
