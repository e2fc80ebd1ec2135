"""Recognisers are driven as calls drive them; scripted ones show what was given when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ingest_jobs.speech.evaluation.streaming import LinkEngine, TranscriberEngine, hear_all
from pipelines.errors import EngineError
from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    OpenStream,
    PushAudio,
    StreamCommand,
    StreamFailed,
    StreamHeard,
    StreamRefused,
    StreamResult,
)
from pipelines.hearing.windowed import Recognition, WindowedTranscriber

pytestmark = pytest.mark.unit

Answer = Callable[[StreamCommand, int], StreamResult | None]


class ScriptedRecognizer:
    """Answers each command by a function, on another thread, as a recogniser does."""

    def __init__(self, answer: Answer) -> None:
        self.commands: list[StreamCommand] = []
        self._answer = answer
        self._pushed: dict[int, int] = {}
        self._on_results: Callable[[list[StreamResult]], None] = lambda _: None
        # One thread for all results, so that they come in order.
        self._thread = ThreadPoolExecutor(1)

    def open_link(self, on_results: Callable[[list[StreamResult]], None]) -> ScriptedRecognizer:
        self._on_results = on_results
        return self

    def send(self, commands: Sequence[StreamCommand]) -> None:
        results = []
        for command in commands:
            self.commands.append(command)
            if isinstance(command, PushAudio):
                self._pushed[command.stream] = self._pushed.get(command.stream, 0) + len(command.pcm_16k) // 32
            if (result := self._answer(command, self._pushed.get(command.stream, 0))) is not None:
                results.append(result)
        if results:
            self._thread.submit(self._on_results, results)

    def warm_up(self) -> None: ...

    def check_health(self) -> None: ...

    def stats(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self._thread.shutdown(wait=False)


def heard_length(command: StreamCommand, pushed_ms: int) -> StreamResult | None:
    if isinstance(command, FinishUtterance):
        return StreamHeard(command.stream, f"{pushed_ms} ms", 0, pushed_ms, finish=command.finish)
    if isinstance(command, PushAudio) and pushed_ms >= 60:
        return StreamHeard(command.stream, "a word", 0, pushed_ms)
    return None


async def test_recordings_are_heard_whole_in_order_and_streams_are_closed() -> None:
    recognizer = ScriptedRecognizer(heard_length)
    done: list[None] = []
    recordings = [np.zeros(16 * length_ms, np.int16) for length_ms in (100, 300, 200)]
    heard, cpu_s = await hear_all(LinkEngine(recognizer), recordings, 2, lambda: done.append(None))
    assert [each.text for each in heard] == ["100 ms", "300 ms", "200 ms"]
    assert len(done) == 3
    assert cpu_s >= 0
    opened = {each.stream for each in recognizer.commands if isinstance(each, OpenStream)}
    assert opened == {each.stream for each in recognizer.commands if isinstance(each, CloseStream)}
    # As fast as they are taken, nothing is timed.
    assert not any(each.lags_ms for each in heard)


async def test_live_recordings_come_in_frames_and_partials_are_timed() -> None:
    recognizer = ScriptedRecognizer(heard_length)
    (heard,), _ = await hear_all(LinkEngine(recognizer), [np.zeros(1600, np.int16)], 1, lambda: None, is_live=True)
    pieces = [len(each.pcm_16k) for each in recognizer.commands if isinstance(each, PushAudio)]
    assert pieces == [640] * 5
    # "a word" comes three times without news; then the final text, which is news too.
    assert len(heard.lags_ms) == 2
    assert heard.first_ms is not None
    assert heard.first_ms >= 60


@pytest.mark.parametrize(
    "refusal", [lambda stream: StreamRefused(stream, "full"), lambda stream: StreamFailed(stream, "full", True)]
)
async def test_a_refused_or_failed_stream_is_an_error_without_text(refusal: Callable[[int], StreamResult]) -> None:
    recognizer = ScriptedRecognizer(
        lambda command, _: refusal(command.stream) if isinstance(command, OpenStream) else None
    )
    (heard,), _ = await hear_all(LinkEngine(recognizer), [np.zeros(1600, np.int16)], 1, lambda: None)
    assert (heard.text, heard.error) == ("", "full")


async def test_windowed_recogniser_gives_its_text_or_its_error() -> None:
    async def recognize(pcm: bytes) -> Recognition:
        if len(pcm) > 6000:
            raise EngineError("transcriber", "too long", retryable=False)
        return Recognition(f"{len(pcm)} bytes")

    engine = TranscriberEngine(WindowedTranscriber(recognize, partial_interval_ms=700), lambda: None)
    heard, _ = await hear_all(engine, [np.zeros(1600, np.int16), np.zeros(4000, np.int16)], 1, lambda: None)
    assert heard[0].text == "3200 bytes"
    assert heard[1].text == ""
    assert "too long" in heard[1].error
