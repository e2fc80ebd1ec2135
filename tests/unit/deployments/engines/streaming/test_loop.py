from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from deployments.engines.streaming.chunk_stepper import Heard, SlotAudio
from deployments.engines.streaming.loop import LoopLimits, StreamLoop
from pipelines.errors import EngineError
from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    OpenStream,
    PushAudio,
    StreamFailed,
    StreamHeard,
    StreamRefused,
    StreamResult,
)
from tests.unit.deployments.engines.letter_stepper import LetterStepper, pcm_of

pytestmark = pytest.mark.unit

WAIT_S = 10.0


@dataclass
class HeldStepper(LetterStepper):
    """Stands still in `step` while `gate` is closed."""

    gate: threading.Event = field(default_factory=threading.Event)
    is_stepping: threading.Event = field(default_factory=threading.Event)

    def step(self, chunks: Sequence[SlotAudio]) -> list[Heard]:
        self.is_stepping.set()
        assert self.gate.wait(WAIT_S)
        return super().step(chunks)


class Ear:
    """What a gateway is told, one list at a time."""

    def __init__(self) -> None:
        self.lists: queue.Queue[list[StreamResult]] = queue.Queue()
        self.threads: set[str] = set()

    def __call__(self, results: list[StreamResult]) -> None:
        self.threads.add(threading.current_thread().name)
        self.lists.put(results)

    def next(self) -> list[StreamResult]:
        return self.lists.get(timeout=WAIT_S)


@contextmanager
def running(stepper: LetterStepper, limits: LoopLimits | None = None) -> Iterator[StreamLoop]:
    loop = StreamLoop(lambda: stepper, limits or LoopLimits(gather_ms=0, late_ms=60_000))
    try:
        yield loop
    finally:
        if isinstance(stepper, HeldStepper):
            stepper.gate.set()
        loop.close()


def finish_text(ear: Ear) -> str:
    while True:
        for result in ear.next():
            assert isinstance(result, StreamHeard), result
            if result.finish is not None:
                return result.text


def test_a_stream_is_heard_and_can_go_on_after_a_finish() -> None:
    ear = Ear()
    with running(LetterStepper()) as loop:
        link = loop.open_link(ear)
        link.send([OpenStream(0), PushAudio(0, pcm_of("hello")), FinishUtterance(0, 1)])
        assert finish_text(ear) == "hello"
        link.send([PushAudio(0, pcm_of("again")), FinishUtterance(0, 2)])
        assert finish_text(ear) == "helloagain"
        assert ear.threads == {"recogniser"}
        assert loop.stats()["streams"] == 1


def test_a_link_gets_one_list_for_all_its_streams_of_a_tick() -> None:
    ear, other = Ear(), Ear()
    with running(LetterStepper()) as loop:
        first, second = loop.open_link(ear), loop.open_link(other)
        first.send([*(OpenStream(s) for s in range(3)), *(PushAudio(s, pcm_of("ab")) for s in range(3))])
        assert [result.stream for result in ear.next()] == [0, 1, 2]
        second.send([OpenStream(0), PushAudio(0, pcm_of("cd"))])
        assert other.next() == [StreamHeard(0, "cd", 2, 0)]
        assert ear.lists.empty()


def test_closing_a_link_frees_its_slots_for_others() -> None:
    ear = Ear()
    with running(LetterStepper(slots=1)) as loop:
        first, second = loop.open_link(Ear()), loop.open_link(ear)
        first.send([OpenStream(0)])
        first.close()
        first.close()
        first.send([OpenStream(1)])
        second.send([OpenStream(0), FinishUtterance(0, 1)])
        assert finish_text(ear) == ""


def test_a_gateway_that_raises_loses_its_link_and_nobody_else_does() -> None:
    ear = Ear()

    def broken(results: list[StreamResult]) -> None:
        raise RuntimeError("the gateway is gone")

    with running(LetterStepper(slots=2)) as loop:
        link = loop.open_link(broken)
        link.send([OpenStream(0), PushAudio(0, pcm_of("ab"))])
        other = loop.open_link(ear)
        other.send([OpenStream(0), PushAudio(0, pcm_of("ok")), FinishUtterance(0, 1)])
        assert finish_text(ear) == "ok"
        other.send([OpenStream(1), FinishUtterance(1, 2)])
        assert finish_text(ear) == "", "the slot of the broken link is free"
        assert link.is_closed
        loop.check_health()


def test_admission_stops_below_the_slots() -> None:
    ear = Ear()
    with running(LetterStepper(slots=4), LoopLimits(max_streams=1, gather_ms=0)) as loop:
        loop.open_link(ear).send([OpenStream(0), OpenStream(1)])
        assert ear.next() == [StreamRefused(1, "all 1 streams are taken")]


def test_warm_up_sets_the_admission_by_what_steps_take() -> None:
    stepper = LetterStepper(slots=9, max_batch=4, chunk_bytes=320)  # 10 ms; a step of 4 takes 1 ms
    with running(stepper, LoopLimits(load_share=0.15, gather_ms=0)) as loop:
        assert loop.stats()["slots"] == 9
        loop.warm_up()
        assert loop.stats()["slots"] == 4


def test_health_fails_while_a_tick_does_not_end() -> None:
    now_ms = [0]
    stepper = HeldStepper()
    loop = StreamLoop(lambda: stepper, LoopLimits(gather_ms=0, unhealthy_after_ms=100), clock_ms=lambda: now_ms[0])
    loop.open_link(Ear()).send([OpenStream(0), PushAudio(0, pcm_of("ab"))])
    assert stepper.is_stepping.wait(WAIT_S)
    loop.check_health()
    now_ms[0] = 101
    with pytest.raises(EngineError, match="running for 101 ms"):
        loop.check_health()
    stepper.gate.set()
    loop.close()


def test_health_fails_when_ticks_stay_late_and_openings_are_refused() -> None:
    now_ms = [0]

    class SlowStepper(HeldStepper):
        def step(self, chunks: Sequence[SlotAudio]) -> list[Heard]:
            if len(self.batches) == 4:
                return super().step(chunks)
            now_ms[0] += 50
            return LetterStepper.step(self, chunks)

    ear, stepper = Ear(), SlowStepper()
    limits = LoopLimits(gather_ms=0, late_ms=10, unhealthy_after_ms=100)
    loop = StreamLoop(lambda: stepper, limits, clock_ms=lambda: now_ms[0])
    link = loop.open_link(ear)
    link.send([OpenStream(0), PushAudio(0, pcm_of("ab" + 5 * "cdef"))])
    assert stepper.is_stepping.wait(WAIT_S)
    with pytest.raises(EngineError, match="late for 150 ms"):
        loop.check_health()
    link.send([OpenStream(1)])
    stepper.gate.set()
    told = [result for _ in range(6) for result in ear.next()]
    assert StreamRefused(1, "ticks have been late for 150 ms") in told
    loop.close()


def test_a_dead_model_fails_all_streams_refuses_new_ones_and_fails_health() -> None:
    ear = Ear()
    with running(LetterStepper(is_ill=True, max_batch=1, slots=9)) as loop:
        link = loop.open_link(ear)
        link.send([command for s in range(8) for command in (OpenStream(s), PushAudio(s, pcm_of("ab")))])
        link.send([OpenStream(8)])
        failed: list[StreamResult] = []
        while len(failed) < 9:
            failed += ear.next()
        assert all(isinstance(result, StreamFailed) and result.retryable for result in failed)
        while True:
            try:
                loop.check_health()
            except EngineError:
                break
        link.send([OpenStream(9)])
        assert ear.next() == [StreamRefused(9, "the recogniser is stopped")]


def test_closing_fails_open_streams_as_retryable_and_frees_the_model() -> None:
    ear, stepper = Ear(), LetterStepper()
    with running(stepper) as loop:
        loop.open_link(ear).send([OpenStream(0), PushAudio(0, pcm_of("ab"))])
        ear.next()
        loop.close()
        loop.close()
        assert ear.next() == [StreamFailed(0, "the recogniser is stopped", retryable=True)]
        assert stepper.is_closed
        with pytest.raises(EngineError, match="stopped"):
            loop.check_health()
        with pytest.raises(EngineError, match="stopped"):
            loop.warm_up()


def test_a_model_that_cannot_be_built_raises_in_the_constructor() -> None:
    def broken() -> LetterStepper:
        raise ValueError("no such file")

    with pytest.raises(ValueError, match="no such file"):
        StreamLoop(broken)


def test_a_stream_that_falls_silent_is_failed_and_freed() -> None:
    ear = Ear()
    with running(LetterStepper(), LoopLimits(gather_ms=0, idle_timeout_ms=20)) as loop:
        link = loop.open_link(ear)
        link.send([OpenStream(0)])
        assert ear.next() == [StreamFailed(0, "nothing was sent for 20 ms", retryable=True)]
        link.send([CloseStream(0)])
        assert loop.stats()["streams"] == 0
