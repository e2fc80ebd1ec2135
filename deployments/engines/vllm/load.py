"""What vLLM reports about itself, for the scaling policy: KV cache in use, waiting requests, time to first token.

vLLM passes the figures of each step to its statistics loggers, and ours keeps those of the last seconds. They show what
a meter around the engine cannot: requests that were accepted but are not computed yet, and full memory.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Length of the window in seconds, equal to that of `deployments.shells.load` so that the figures are comparable.
WINDOW_S = 20.0
_PERCENTILE = 0.95


@dataclass(frozen=True, slots=True)
class EngineStep:
    """One step: the requests computed together, those waiting for a place, and the used share of the cache."""

    at_s: float
    running: int
    waiting: int
    kv_use: float


class VllmLoad:
    """Keeps the engine's recent figures. The engine's thread writes them, and the replica's reads them.

    Args:
        clock: a monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._steps: deque[EngineStep] = deque()
        self._firsts: deque[tuple[float, float]] = deque()

    def note_step(self, running: int, waiting: int, kv_use: float) -> None:
        """Record the scheduler's counts after a step."""
        now_s = self._clock()
        with self._lock:
            self._steps.append(EngineStep(now_s, running, waiting, kv_use))
            self._forget(now_s)

    def note_first_token(self, took_s: float) -> None:
        """Record how long a request waited for its first token."""
        with self._lock:
            self._firsts.append((self._clock(), took_s))

    def note_idle(self) -> None:
        """Record that nothing is left to compute, since no further step will show it."""
        self.note_step(0, 0, 0.0)

    def stats(self) -> dict[str, float]:
        """Return the figures of the last `WINDOW_S`, leaving out unknown ones.

        * kv_use: largest share of the KV cache held by requests. Blocks kept only for a common prefix count as free.
        * waiting: number of requests waiting for a place, averaged over time.
        * first_token_ms: p95 from a request's arrival in the engine to its first token.
        """
        now_s = self._clock()
        with self._lock:
            self._forget(now_s)
            steps, firsts = list(self._steps), sorted(took_s for _, took_s in self._firsts)
        figures: dict[str, float] = {}
        if steps:
            figures |= {"kv_use": max(step.kv_use for step in steps), "waiting": _mean_waiting(steps, now_s)}
        if firsts:
            figures["first_token_ms"] = 1000 * firsts[min(len(firsts) - 1, int(_PERCENTILE * len(firsts)))]
        return figures

    def _forget(self, now_s: float) -> None:
        # The figures of the last step hold until the next one, however old they are.
        while len(self._steps) > 1 and now_s - self._steps[1].at_s > WINDOW_S:
            self._steps.popleft()
        while self._firsts and now_s - self._firsts[0][0] > WINDOW_S:
            self._firsts.popleft()


def _mean_waiting(steps: list[EngineStep], now_s: float) -> float:
    since_s = now_s - WINDOW_S
    ends_s = [step.at_s for step in steps[1:]] + [now_s]
    total = sum(
        step.waiting * max(0.0, end_s - max(step.at_s, since_s)) for step, end_s in zip(steps, ends_s, strict=True)
    )
    return total / WINDOW_S


def logger_for(load: VllmLoad) -> Callable[[Any, int], Any]:
    """Return the factory of a statistics logger that vLLM expects (`StatLoggerFactory`). This imports vLLM."""
    from vllm.v1.metrics.loggers import StatLoggerBase

    class LoadLogger(StatLoggerBase):
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            """Ignore the engine's configuration, of which nothing is needed."""

        def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
            if scheduler_stats is not None:
                load.note_step(
                    scheduler_stats.num_running_reqs, scheduler_stats.num_waiting_reqs, scheduler_stats.kv_cache_usage
                )
            for took_s in iteration_stats.time_to_first_tokens_iter if iteration_stats is not None else ():
                load.note_first_token(took_s)

        def log_engine_initialized(self) -> None:
            """Do nothing: there is nothing to report."""

    return LoadLogger
