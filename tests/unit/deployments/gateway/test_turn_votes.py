"""A recogniser that streams may say itself that an utterance has ended: from its thread to the end of the turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import numpy as np
import pytest

from deployments.engines.scripted.detection import ScriptedSpeechDetector, ScriptedTurnDetector
from deployments.engines.scripted.streaming import ScriptedStepper
from deployments.engines.scripted.synthesizer import ScriptedSynthesizer
from deployments.engines.streaming.loop import StreamLoop
from pipelines.call.observers import ObserverChain
from pipelines.call.runner import Engines, SessionRunner
from pipelines.hearing.link import StreamResult
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkPatience
from pipelines.ports import AnswerEvent
from pipelines.session.core import Session
from pipelines.session.effects import Notice, PartialTranscript, SpeechStopped, StartAnswer, TranscriptCompleted
from pipelines.session.settings import SessionSettings, TurnDetection

pytestmark = pytest.mark.unit

FRAME_BYTES = 640  # 20 ms
CHUNK_MS = 160
SPEECH = np.random.default_rng(5).normal(scale=4000, size=16_000).clip(-32_000, 32_000).astype("<i2").tobytes()
# No other vote comes: the turn model doubts, and silence alone takes longer than this test.
SETTINGS = SessionSettings(turn_detection=TurnDetection(max_silence_ms=60_000, create_response=False))


class NoAnswers:
    async def answer(self, _order: StartAnswer) -> AsyncIterator[AnswerEvent]:
        raise AssertionError("nobody asked")
        yield


class Call:
    """A call whose recogniser runs in this process."""

    def __init__(self, recognizer: StreamLoop) -> None:
        self._recognizer = recognizer
        self.linked = LinkedTranscriber(LinkPatience())
        loop = asyncio.get_running_loop()

        def hand_over(results: list[StreamResult]) -> None:
            with suppress(RuntimeError):  # the loop is closed: the test is over
                loop.call_soon_threadsafe(self.linked.deliver, "here", results)

        self.linked.join("here", recognizer.open_link(hand_over), streams=0, slots=8)
        engines = Engines(
            ScriptedSpeechDetector(), ScriptedTurnDetector(0.0), self.linked, NoAnswers(), ScriptedSynthesizer()
        )
        self.notices: list[Notice] = []
        self.has_text = asyncio.Event()
        session = Session.start("s", SETTINGS)
        self.failures: list[Exception] = []
        self.runner = SessionRunner(session, engines, self._note, self.failures.append, ObserverChain([]))

    def say(self, pcm_16k: bytes) -> None:
        """Let the caller's audio arrive."""
        for start in range(0, len(pcm_16k), FRAME_BYTES):
            self.runner.feed_audio(pcm_16k[start : start + FRAME_BYTES])

    async def until_heard(self, audio_ms: int) -> None:
        """Wait until the recogniser has heard all chunks of so much audio, and the call has what it said of them."""
        while self._recognizer.stats()["chunks"] < audio_ms // CHUNK_MS:  # noqa: ASYNC110  a thread gives no event
            await asyncio.sleep(0.005)  # noqa: TID251  the same
        # Results come in order: when this one is here, those before it are. It is less than a chunk.
        await self.linked.recognize(SPEECH[:FRAME_BYTES])

    async def hang_up(self) -> None:
        await self.runner.close()
        self.linked.close()

    def all(self, kind: type[Notice]) -> list[Notice]:
        return [notice for notice in self.notices if isinstance(notice, kind)]

    def _note(self, notice: Notice) -> None:
        self.notices.append(notice)
        if isinstance(notice, TranscriptCompleted):
            self.has_text.set()


@pytest.fixture
def recognizer(request: pytest.FixtureRequest) -> Iterator[StreamLoop]:
    loop = StreamLoop(lambda: ScriptedStepper(slots=8, end_silence_ms=request.param))
    yield loop
    loop.close()


@pytest.mark.parametrize("recognizer", [320], indirect=True)
async def test_turn_ends_when_the_recogniser_holds_the_utterance_for_ended(recognizer: StreamLoop) -> None:
    call = Call(recognizer)
    call.say(SPEECH + bytes(600 * 32))
    await call.has_text.wait()
    (stopped,) = call.all(SpeechStopped)
    assert isinstance(stopped, SpeechStopped)
    assert 1320 <= stopped.audio_end_ms <= 1600
    partials = [notice.text for notice in call.all(PartialTranscript) if isinstance(notice, PartialTranscript)]
    assert len(partials) == len(set(partials)) > 3
    await call.hang_up()


@pytest.mark.parametrize("recognizer", [0], indirect=True)
async def test_turn_does_not_end_when_the_recogniser_says_nothing(recognizer: StreamLoop) -> None:
    call = Call(recognizer)
    call.say(SPEECH + bytes(600 * 32))
    await call.until_heard(1600)
    assert call.all(PartialTranscript)
    assert not call.all(SpeechStopped)
    await call.hang_up()


@pytest.mark.parametrize("recognizer", [320], indirect=True)
async def test_caller_who_pauses_for_less_than_an_end_is_not_cut_off(recognizer: StreamLoop) -> None:
    call = Call(recognizer)
    # Shorter than what the recogniser takes for an end, then speech, then too little silence for any end.
    call.say(SPEECH + bytes(160 * 32) + SPEECH + bytes(256 * 32))
    await call.until_heard(2416)
    assert not call.all(SpeechStopped)
    call.say(bytes(400 * 32))
    await call.has_text.wait()
    assert len(call.all(SpeechStopped)) == 1
    await call.hang_up()
