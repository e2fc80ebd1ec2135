from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.streaming.schedule import ScheduleLimits, StreamSchedule
from deployments.engines.streaming.ticks import StreamTicks
from pipelines.errors import EngineError
from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    OpenStream,
    PushAudio,
    PushMany,
    StreamCommand,
    StreamFailed,
    StreamHeard,
    StreamRefused,
    StreamResult,
)
from tests.unit.deployments.engines.letter_stepper import LetterStepper, pcm_of

pytestmark = pytest.mark.unit


class Bench:
    """Ticks over a `LetterStepper`, at a clock that stands still."""

    def __init__(self, stepper: LetterStepper | None = None, refuse: Callable[[], str | None] = lambda: None) -> None:
        self.stepper = stepper or LetterStepper()
        limits = ScheduleLimits(
            self.stepper.first_bytes, self.stepper.chunk_bytes, self.stepper.slots, self.stepper.max_batch, 0, 1000
        )
        self.schedule = StreamSchedule(limits)
        self.ticks = StreamTicks(self.stepper, self.schedule, refuse)
        self.now_ms = 0

    def say(self, *commands: StreamCommand, link: int = 1) -> None:
        self.ticks.apply(link, commands, self.now_ms)

    def settle(self) -> dict[int, list[StreamResult]]:
        """Tick until nothing waits; return all results."""
        results: dict[int, list[StreamResult]] = {}
        while self.schedule.wait_ms(self.now_ms) is not None:
            self.ticks.run(lambda: self.now_ms)
            for link, told in self.ticks.take_results().items():
                results.setdefault(link, []).extend(told)
        for link, told in self.ticks.take_results().items():
            results.setdefault(link, []).extend(told)
        return results


def test_partials_grow_and_a_finish_covers_the_rest() -> None:
    bench = Bench()
    bench.say(OpenStream(0), PushAudio(0, pcm_of("wherearewe")), FinishUtterance(0, 5))
    told = bench.settle()[1]
    assert [(heard.text, heard.finish) for heard in told if isinstance(heard, StreamHeard)] == [
        ("wh", None),
        ("wherea", None),
        ("wherearewe", None),
        ("wherearewe", 5),
    ]


def test_a_finish_changes_nothing_of_what_is_heard_later() -> None:
    bench = Bench()
    bench.say(OpenStream(0), PushAudio(0, pcm_of("one")), FinishUtterance(0, 1), PushAudio(0, pcm_of("two")))
    bench.say(FinishUtterance(0, 2))
    finishes = [heard for heard in bench.settle()[1] if isinstance(heard, StreamHeard) and heard.finish]
    assert [(heard.finish, heard.text, heard.stable_chars) for heard in finishes] == [(1, "one", 2), (2, "onetwo", 6)]


def test_finish_without_audio_is_answered_with_nothing() -> None:
    bench = Bench()
    bench.say(OpenStream(0), FinishUtterance(0, 1))
    assert bench.settle() == {1: [StreamHeard(0, "", 0, 0, 1)]}


def test_an_utterance_that_the_model_ends_is_told_though_the_text_is_the_same() -> None:
    bench = Bench()
    bench.say(OpenStream(0), PushAudio(0, pcm_of("a.")))
    assert bench.settle() == {1: [StreamHeard(0, "a.", 2, 0, None, True)]}


def test_openings_are_refused_when_slots_run_out_or_the_loop_says_so() -> None:
    bench = Bench(LetterStepper(slots=1))
    bench.say(OpenStream(0), OpenStream(1), PushAudio(1, pcm_of("lost")), FinishUtterance(1, 1))
    assert bench.settle() == {1: [StreamRefused(1, "all slots are taken")]}
    bench = Bench(refuse=lambda: "late")
    bench.say(OpenStream(0))
    assert bench.settle() == {1: [StreamRefused(0, "late")]}


def test_bad_streams_fail_and_the_others_of_their_batch_go_on() -> None:
    bench = Bench()
    for stream, letters in enumerate(["ab", "!!", "cd"]):
        bench.say(OpenStream(stream), PushAudio(stream, pcm_of(letters)))
    told = bench.settle()[1]
    assert StreamFailed(1, "the model failed: ValueError", retryable=True) in told
    assert [heard.text for heard in told if isinstance(heard, StreamHeard)] == ["ab", "cd"]
    assert bench.stepper.freed == [1]
    bench.say(PushAudio(0, pcm_of("efgh")))
    assert bench.settle() == {1: [StreamHeard(0, "abefgh", 6, 0)]}


def test_a_finish_that_fails_ends_its_stream_alone() -> None:
    bench = Bench()
    bench.say(OpenStream(0), PushAudio(0, pcm_of("!")), FinishUtterance(0, 1))
    bench.say(OpenStream(1), PushAudio(1, pcm_of("a")), FinishUtterance(1, 1))
    assert [type(result) for result in bench.settle()[1]] == [StreamFailed, StreamHeard]


def test_a_model_that_fails_for_everyone_ends_the_recogniser() -> None:
    bench = Bench(LetterStepper(is_ill=True, max_batch=1, slots=8))
    for stream in range(8):
        bench.say(OpenStream(stream), PushAudio(stream, pcm_of("ab")))
    with pytest.raises(EngineError) as caught:
        bench.settle()
    assert caught.value.retryable
    assert len(bench.schedule) == 0


def test_bad_streams_one_after_the_other_do_not_end_the_recogniser() -> None:
    bench = Bench()
    for stream in range(20):
        bench.say(OpenStream(stream), PushAudio(stream, pcm_of("!!" if stream % 5 else "ab")))
        bench.settle()
        bench.say(CloseStream(stream))


def test_a_burst_takes_no_tick_from_another_stream() -> None:
    bench = Bench(LetterStepper(max_batch=1, first_bytes=64, chunk_bytes=320))  # chunks of 10 ms
    bench.say(OpenStream(0), PushAudio(0, pcm_of("a" * 500)))
    bench.ticks.run(lambda: 0)
    bench.ticks.take_results()
    bench.now_ms = 1
    bench.say(OpenStream(1), PushAudio(1, pcm_of("x" * 32)))
    bench.ticks.run(lambda: 1)
    assert bench.ticks.take_results() == {1: [StreamHeard(1, "x" * 32, 32, 2)]}


@pytest.mark.parametrize(
    ("commands", "told"),
    [
        ([PushAudio(3, b"x")], [StreamFailed(3, "the stream was never opened", retryable=False)]),
        (
            [PushMany([3, 4], [b"x", b"y"])],
            [StreamFailed(stream, "the stream was never opened", retryable=False) for stream in (3, 4)],
        ),
        ([CloseStream(3)], []),
        ([OpenStream(3), CloseStream(3), PushAudio(3, pcm_of("ab")), FinishUtterance(3, 1)], []),
        ([OpenStream(3), OpenStream(3)], [StreamFailed(3, "the stream was opened twice", retryable=False)]),
        ([OpenStream(3, "bad")], [StreamFailed(3, "the model failed: ValueError", retryable=True)]),
        (
            [OpenStream(3), PushAudio(3, bytes(32_001))],
            [StreamFailed(3, "more than 1 s of audio wait to be recognised", retryable=False)],
        ),
        (
            [OpenStream(3), PushMany([3, 3, 3], [b"x", bytes(32_000), b"y"])],
            [StreamFailed(3, "more than 1 s of audio wait to be recognised", retryable=False)],
        ),
    ],
)
def test_bad_commands_are_answered_and_leave_no_slot_taken(
    commands: list[StreamCommand], told: list[StreamResult]
) -> None:
    bench = Bench()
    bench.say(*commands)
    assert bench.settle().get(1, []) == told
    assert bench.schedule.free_slots == bench.stepper.slots
    assert not bench.stepper.texts


def test_audio_of_many_streams_is_that_of_each() -> None:
    bench = Bench()
    bench.say(OpenStream(0), OpenStream(1), PushMany([0, 1, 0], [pcm_of("one "), pcm_of("two"), pcm_of("more")]))
    bench.say(FinishUtterance(0, 1), FinishUtterance(1, 1))
    told = [heard for heard in bench.settle()[1] if isinstance(heard, StreamHeard) and heard.finish]
    assert {heard.stream: heard.text for heard in told} == {0: "one more", 1: "two"}


def test_a_closed_link_frees_its_slots_and_is_told_nothing() -> None:
    bench = Bench()
    bench.say(OpenStream(0), PushAudio(0, pcm_of("ab")), OpenStream(1), link=1)
    bench.say(OpenStream(0), PushAudio(0, pcm_of("cd")), link=2)
    bench.ticks.close_link(1)
    assert bench.settle() == {2: [StreamHeard(0, "cd", 2, 0)]}
    assert sorted(bench.stepper.freed) == [0, 1]


def test_idle_streams_are_failed_and_freed() -> None:
    bench = Bench()
    bench.say(OpenStream(0))
    bench.now_ms = 500
    bench.say(OpenStream(1))
    bench.ticks.end_idle(1000, 1000)
    assert bench.settle() == {1: [StreamFailed(0, "nothing was sent for 1000 ms", retryable=True)]}
    assert bench.stepper.freed == [0]


def test_lag_is_the_time_from_due_to_done() -> None:
    bench = Bench()
    bench.say(OpenStream(0), PushAudio(0, pcm_of("ab")))
    times = iter([10, 35])
    assert bench.ticks.run(lambda: next(times)) == [35]


_COMMANDS = st.one_of(
    st.builds(OpenStream, st.integers(0, 5)),
    st.builds(PushAudio, st.integers(0, 5), st.text("abcdefg!", max_size=9).map(pcm_of)),
    st.lists(st.tuples(st.integers(0, 5), st.text("abcdefg!", max_size=9).map(pcm_of)), max_size=4).map(
        lambda pushes: PushMany([stream for stream, _ in pushes], [piece for _, piece in pushes])
    ),
    st.builds(FinishUtterance, st.integers(0, 5), st.integers(0, 99)),
    st.builds(CloseStream, st.integers(0, 5)),
    st.just(None),  # a tick
)


@given(st.lists(st.tuples(st.integers(1, 2), _COMMANDS), max_size=80))
def test_no_order_of_commands_loses_a_slot_or_mixes_streams(
    script: list[tuple[int, StreamCommand | None]],
) -> None:
    bench = Bench()
    for link, command in script:
        if command is not None:
            bench.say(command, link=link)
        elif bench.schedule.wait_ms(0) == 0:
            try:
                bench.ticks.run(lambda: 0)
            except EngineError:
                bench.ticks.fail_all("ill")
    for link in (1, 2):
        bench.ticks.close_link(link)
    assert (len(bench.schedule), bench.schedule.free_slots) == (0, bench.stepper.slots)
    assert not bench.stepper.texts


@given(st.lists(st.text("abcdefghijkl", max_size=13), max_size=12), st.integers(1, 4))
def test_every_finish_hears_exactly_what_was_said_before_it(pieces: list[str], streams: int) -> None:
    bench = Bench()
    for stream in range(streams):
        bench.say(OpenStream(stream))
    for number, piece in enumerate(pieces):
        for stream in range(streams):
            bench.say(PushAudio(stream, pcm_of(str(stream) + piece)), FinishUtterance(stream, number))
    told = [heard for heard in bench.settle().get(1, []) if isinstance(heard, StreamHeard) and heard.finish is not None]
    assert len(told) == streams * len(pieces)
    for heard in told:
        assert heard.finish is not None
        assert heard.text == "".join(str(heard.stream) + piece for piece in pieces[: heard.finish + 1])
