"""What vLLM says of itself, for the scaling policy: KV cache in use, requests that wait, time to the first token.

vLLM hands the figures of each step to its loggers of statistics; one of ours keeps the last seconds. The engine's own
figures see what a meter around it cannot: requests that were taken and are not computed yet, and memory that is full.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# As long as the window of `deployments.shells.load`.
WINDOW_S = 20.0
_PERCENTILE = 0.95


@dataclass(frozen=True, slots=True)
class EngineStep:
    """One step: requests that are computed together, those that wait for a place, and the cache's used share."""

    at_s: float
    running: int
    waiting: int
    kv_use: float


class VllmLoad:
    """Keeps what the engine said lately. Written by the engine's thread, read by the replica's.

    Args:
        clock: seconds, steady.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._steps: deque[EngineStep] = deque()
        self._firsts: deque[tuple[float, float]] = deque()

    def note_step(self, running: int, waiting: int, kv_use: float) -> None:
        """Take in the scheduler's counts after a step."""
        now_s = self._clock()
        with self._lock:
            self._steps.append(EngineStep(now_s, running, waiting, kv_use))
            self._forget(now_s)

    def note_first_token(self, took_s: float) -> None:
        """Take in how long a request waited for its first token."""
        with self._lock:
            self._firsts.append((self._clock(), took_s))

    def note_idle(self) -> None:
        """Say that nothing is left to compute: no step will tell."""
        self.note_step(0, 0, 0.0)

    def stats(self) -> dict[str, float]:
        """Return the figures of the last `WINDOW_S`; those of which nothing is known are left out.

        * kv_use: largest share of the KV cache that requests held. What is only kept for a common prefix is free.
        * waiting: requests that waited for a place, mean over time.
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
        # The last step holds until the next, however old it is.
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
    """Return the factory that vLLM wants of a logger of statistics (`StatLoggerFactory`); it imports vLLM."""
    from vllm.v1.metrics.loggers import StatLoggerBase

    class LoadLogger(StatLoggerBase):
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            """Nothing of the engine's configuration is needed."""

        def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
            if scheduler_stats is not None:
                load.note_step(
                    scheduler_stats.num_running_reqs, scheduler_stats.num_waiting_reqs, scheduler_stats.kv_cache_usage
                )
            for took_s in iteration_stats.time_to_first_tokens_iter if iteration_stats is not None else ():
                load.note_first_token(took_s)

        def log_engine_initialized(self) -> None:
            """Nothing to say."""

    return LoadLogger
