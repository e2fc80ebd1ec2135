"""The thread that owns a streaming recogniser's model: `pipelines.hearing.link.StreamingRecognizer` over a stepper.

Model libraries are not thread-safe, so one thread builds the model and makes every call. Links leave commands in an
inbox, the thread applies them between two ticks, and after a tick each link gets one list of plain results:

    links     open, push ──┐    push, finish ──┐                       close ──┐
    thread                [apply][ tick ]     [apply][ tick ] results ──►     [apply]  sleeps when nothing waits
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deployments.engines.owned_thread import OwnedThread
from deployments.engines.streaming.chunk_stepper import ChunkStepper
from deployments.engines.streaming.lag import LagMeter, streams_within
from deployments.engines.streaming.schedule import ScheduleLimits, StreamSchedule
from deployments.engines.streaming.ticks import StreamTicks
from pipelines.errors import Component, EngineError
from pipelines.hearing.link import OpenStream, StreamCommand, StreamRefused, StreamResult

logger = logging.getLogger(__name__)

_ENGINE = Component.TRANSCRIBER
_STOPPED = "the recogniser is stopped"
_DEATH_WATCH_S = 0.1
_IDLE_SCAN_MS = 1000

OnResults = Callable[[list[StreamResult]], None]


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """Bounds of the loop.

    Attributes:
        max_streams: the most streams admitted; 0 uses what the warm-up measures (`load_share`).
        load_share: share of a chunk's time that steps may take, from which the limit is derived when `max_streams` is
            0.
        gather_ms: how long a ready chunk waits for others to share its step.
        max_backlog_ms: the most audio of one stream that may wait; a stream with more is failed.
        idle_timeout_ms: time without audio after which a stream is failed and its slot freed.
        late_ms: lag above which a tick is late; 0 means one chunk. No stream is admitted after a late tick.
        unhealthy_after_ms: how long ticks may be late, or one tick may run, before the health check fails.
    """

    max_streams: int = 0
    load_share: float = 0.5
    gather_ms: int = 5
    max_backlog_ms: int = 600_000
    idle_timeout_ms: int = 120_000
    late_ms: int = 0
    unhealthy_after_ms: int = 10_000


class StreamLoop:
    """Recognises many streams on one thread of its own.

    Args:
        make_stepper: builds the model; called in the thread.
        clock_ms: a monotonic clock in ms.

    Raises:
        Exception: whatever `make_stepper` raised.
    """

    def __init__(
        self,
        make_stepper: Callable[[], ChunkStepper],
        limits: LoopLimits | None = None,
        clock_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._limits = limits or LoopLimits()
        self._clock_ms = clock_ms
        self._links: dict[int, Link] = {}
        self._lock = threading.Lock()
        self._links_opened = 0
        self._tick_began_ms: int | None = None
        self._admitted = 0
        self._thread = OwnedThread(
            "recogniser", set_up=lambda: self._set_up(make_stepper()), turn=self._step_or_sleep, end=self._end
        )
        self._thread.start()

    def open_link(self, on_results: OnResults) -> Link:
        with self._lock:
            self._links_opened += 1
            link = Link(self, self._links_opened, on_results)
            self._links[link.number] = link
        return link

    def warm_up(self) -> None:
        """Run every batch shape and, if `max_streams` is 0, derive the admission limit from their timing. Blocks.

        Raises:
            EngineError: the recogniser is stopped, or the model failed.
        """
        done = threading.Event()
        failures: list[Exception] = []

        def warm() -> None:
            try:
                self._admit_by(self._stepper.warm_up())
            except Exception as error:
                failures.append(error)
            done.set()

        self.post(warm)
        while not done.wait(_DEATH_WATCH_S):
            self._raise_if_dead()
        if failures:
            reason = f"warm-up failed: {type(failures[0]).__name__}"
            raise EngineError(_ENGINE, reason, retryable=False) from failures[0]

    def check_health(self) -> None:
        self._raise_if_dead()
        now_ms = self._clock_ms()
        bound_ms = self._limits.unhealthy_after_ms
        began_ms = self._tick_began_ms
        if began_ms is not None and now_ms - began_ms > bound_ms:
            raise EngineError(_ENGINE, f"a tick has been running for {now_ms - began_ms} ms", retryable=True)
        late_ms = self._lag.late_for_ms(now_ms)
        if late_ms > bound_ms:
            raise EngineError(_ENGINE, f"ticks have been late for {late_ms} ms", retryable=True)

    def stats(self) -> dict[str, float]:
        counts = self._ticks.counts
        lag = {f"tick_lag_{name}_ms": value for name, value in self._lag.percentiles().items()}
        return {
            "streams": float(len(self._schedule)),
            "slots": float(self._admitted),
            "batch_fill": counts.chunks / counts.ticks / self._stepper.max_batch if counts.ticks else 0.0,
            "backlog_ms": float(self._backlog_ms),
            "audio_s": counts.audio_ms / 1000,
            "ticks": float(counts.ticks),
            "chunks": float(counts.chunks),
            "finishes": float(counts.finishes),
            "opened": float(counts.opened),
            "refused": float(counts.refused),
            "failed": float(counts.failed),
            **lag,
        }

    def close(self) -> None:
        """Stop the thread after the current tick; open streams fail as retryable. Does nothing on successive calls."""
        self._thread.stop()

    def post(self, action: Callable[[], None]) -> bool:
        """Have the thread call `action` between two ticks. Returns False if the thread has ended. Thread-safe."""
        return self._thread.post(action)

    def apply(self, link: Link, commands: Sequence[StreamCommand]) -> None:
        """Apply a link's commands. Called by the thread."""
        if not link.is_closed:
            self._ticks.apply(link.number, commands, self._clock_ms())

    def forget(self, link: Link) -> None:
        """Free all slots of a link. Called by the thread."""
        with self._lock:
            self._links.pop(link.number, None)
        self._ticks.close_link(link.number)

    def _set_up(self, stepper: ChunkStepper) -> None:
        limits = self._limits
        self._stepper = stepper
        self._backlog_ms = 0
        self._admitted = min(limits.max_streams or stepper.slots, stepper.slots)
        schedule_limits = ScheduleLimits(
            stepper.first_bytes,
            stepper.chunk_bytes,
            max_streams=stepper.slots,
            max_batch=stepper.max_batch,
            gather_ms=limits.gather_ms,
            max_backlog_ms=limits.max_backlog_ms,
        )
        self._schedule = StreamSchedule(schedule_limits)
        self._lag = LagMeter(limits.late_ms or schedule_limits.chunk_ms)
        self._ticks = StreamTicks(stepper, self._schedule, self._why_refused)
        self._idle_scan_ms = self._clock_ms()

    def _step_or_sleep(self) -> None:
        """Run a tick, or sleep until there is something to do."""
        now_ms = self._clock_ms()
        if now_ms - self._idle_scan_ms >= min(_IDLE_SCAN_MS, self._limits.idle_timeout_ms):
            self._idle_scan_ms = now_ms
            self._ticks.end_idle(now_ms, self._limits.idle_timeout_ms)
        wait_ms = self._schedule.wait_ms(now_ms)
        if wait_ms == 0:
            self._tick(now_ms)
        else:
            self._lag.rest()
        self._deliver()
        if wait_ms != 0:
            pause_ms = min(_IDLE_SCAN_MS, self._limits.idle_timeout_ms) if wait_ms is None else wait_ms
            self._thread.sleep(pause_ms / 1000 if len(self._schedule) else None)

    def _tick(self, now_ms: int) -> None:
        self._tick_began_ms = now_ms
        lags = self._ticks.run(self._clock_ms)
        self._tick_began_ms = None
        self._lag.record(lags, self._clock_ms())
        self._backlog_ms = self._schedule.backlog_ms()

    def _deliver(self) -> None:
        for number, results in self._ticks.take_results().items():
            with self._lock:
                link = self._links.get(number)
            if link is None or link.is_closed:
                continue
            try:
                link.on_results(results)
            except Exception:
                # Nobody is left who could use the results of these streams.
                logger.exception("a link was closed because its gateway does not read results")
                link.close()

    def _end(self) -> None:
        """Fail all open streams. Openings that were still in the inbox have been refused."""
        self._tick_began_ms = None
        self._ticks.fail_all(_STOPPED)
        self._deliver()
        try:
            self._stepper.close()
        except Exception:
            logger.exception("the model could not be freed")

    def _why_refused(self) -> str | None:
        if self._thread.is_stopping:
            return _STOPPED
        if len(self._schedule) >= self._admitted:
            return f"all {self._admitted} streams are taken"
        late_ms = self._lag.late_for_ms(self._clock_ms())
        return f"ticks have been late for {late_ms} ms" if late_ms > 0 else None

    def _admit_by(self, step_ms: Mapping[int, float]) -> None:
        if self._limits.max_streams == 0 and step_ms:
            able = streams_within(step_ms, self._schedule.limits.chunk_ms, self._limits.load_share)
            self._admitted = min(able, self._stepper.slots)

    def _raise_if_dead(self) -> None:
        if self._thread.failure is not None:
            raise EngineError(_ENGINE, "the recogniser has died", retryable=True) from self._thread.failure
        if not self._thread.is_alive:
            raise EngineError(_ENGINE, _STOPPED, retryable=True)


class Link:
    """One gateway's end of a link; see `pipelines.hearing.link.RecognizerLink`.

    Once the thread has ended, openings are refused immediately on the caller's thread.
    """

    def __init__(self, loop: StreamLoop, number: int, on_results: OnResults) -> None:
        self.number = number
        self.on_results = on_results
        self.is_closed = False
        self._loop = loop

    def send(self, commands: Sequence[StreamCommand]) -> None:
        if self.is_closed or self._loop.post(lambda: self._loop.apply(self, commands)):
            return
        refused = [StreamRefused(c.stream, _STOPPED) for c in commands if isinstance(c, OpenStream)]
        if refused:
            self.on_results([*refused])

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._loop.post(lambda: self._loop.forget(self))
