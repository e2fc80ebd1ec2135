"""One utterance in recognition at a replica that may die: what is kept, what is repeated and what is held back.

All pushed audio, and every `finalize` with its position in the audio, is kept until the utterance is closed. A replica
that takes over receives all of the audio again, and each unanswered `finalize` at its position. (Answering one changes
nothing in the recogniser: `deployments.engines.streaming.chunk_stepper`.)

    pushed         ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓
    finishes                │1 answered      │2 waits
    replay   Open  ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ Finish 2 ▓▓▓▓

Partials from the new replica are withheld until they cover more audio than the last published one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pipelines.audio.pcm import PCM_16K
from pipelines.errors import Component, EngineError
from pipelines.hearing.link import FinishUtterance, PushAudio, StreamCommand, StreamHeard
from pipelines.ports import Hypothesis

ENGINE = Component.TRANSCRIBER
# A replay is cut into pieces of this size, so that no single message grows with the utterance.
PIECE_BYTES = 256 * 1024


def cut(number: int, pcm_16k: bytes | bytearray) -> Iterator[PushAudio]:
    """Yield a stream's audio in pieces that fit into one message."""
    for at in range(0, len(pcm_16k), PIECE_BYTES):
        yield PushAudio(number, bytes(pcm_16k[at : at + PIECE_BYTES]))


class Placement(Protocol):
    """What a stream asks of the object that has placed it."""

    def send_audio(self, stream: LinkedStream) -> None:
        """Send the new audio with the next tick."""

    def send_finish(self, stream: LinkedStream, finish: Finish) -> None:
        """Send a `finalize` now, finding a replica first if there is none."""

    def try_elsewhere(self, stream: LinkedStream) -> None:
        """Restart the stream at another replica, if its own has had enough time and there is another one."""

    def forget(self, stream: LinkedStream) -> None:
        """Free what the stream holds, because the utterance is closed."""


@dataclass(frozen=True, slots=True)
class LinkPatience:
    """Time limits and bounds of linked recognition.

    Attributes:
        tick_ms: how long audio is collected before it is sent.
        answer_s: time after which a replica that has not answered a `finalize` is abandoned for another one.
        wait_s: time after which a `finalize` fails, whether several replicas were tried or there was none.
        max_utterance_s: audio beyond this length is dropped.
        max_moves: how many replicas one utterance may lose, since the utterance itself may be what kills them.
    """

    tick_ms: int = 20
    answer_s: float = 3.0
    wait_s: float = 10.0
    max_utterance_s: float = 130.0
    max_moves: int = 4


@dataclass(eq=False, slots=True)
class Finish:
    """A `finalize` of all audio up to `end_bytes`, and the future that waits for its text."""

    number: int
    end_bytes: int
    answer: asyncio.Future[Hypothesis]

    @property
    def has_failed(self) -> bool:
        return self.answer.done() and (self.answer.cancelled() or self.answer.exception() is not None)


@dataclass(eq=False, slots=True)
class _Published:
    """The newest partial that was published."""

    text: str = ""
    stable_chars: int = 0
    audio_ms: int = -1


class LinkedStream:
    """One utterance; see `pipelines.ports.TranscriptStream`. Used on one event loop."""

    def __init__(
        self,
        placement: Placement,
        patience: LinkPatience,
        on_partial: Callable[[Hypothesis], None],
        tenant: str = "",
    ) -> None:
        self.tenant = tenant
        self._placement = placement
        self._patience = patience
        self._on_partial = on_partial
        self._audio = bytearray()
        self._room_bytes = PCM_16K.bytes_of(int(patience.max_utterance_s * 1000))
        self._sent_bytes = 0
        self._finishes: list[Finish] = []
        self._published = _Published()
        self._is_closed = False
        self._must_catch_up = False

    def push(self, pcm_16k: bytes) -> None:
        if self._is_closed:
            return
        audio = self._audio
        audio += pcm_16k[: self._room_bytes - len(audio)]
        if len(audio) - self._sent_bytes > 1:  # at least one whole sample
            self._placement.send_audio(self)

    async def finalize(self) -> Hypothesis:
        """Recognise all audio pushed so far; calls that cover the same audio share one answer.

        Raises:
            EngineError: recognition failed, no replica took the stream or answered in time, or the stream is closed.
        """
        if self._is_closed:
            raise EngineError(ENGINE, "the stream is closed", retryable=False)
        if not self._whole_bytes:
            return Hypothesis("", 0, 0)
        finish = self._finishes[-1] if self._finishes else None
        if finish is None or finish.end_bytes != self._whole_bytes or finish.has_failed:
            finish = self._begin_finish()
        try:
            async with asyncio.timeout(self._patience.wait_s):
                return await self._answered(finish)
        except TimeoutError:
            message = f"no replica answered within {self._patience.wait_s:g} s"
            raise EngineError(ENGINE, message, retryable=True) from None

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._placement.forget(self)
        self._audio.clear()
        for finish in self._finishes:
            finish.answer.cancel()

    # --- for the placement --------------------------------------------------------------------------------------------

    @property
    def awaits_answer(self) -> bool:
        """Whether a `finalize` still waits for its answer."""
        return any(not finish.answer.done() for finish in self._finishes)

    @property
    def audio_s(self) -> float:
        """Length of all pushed audio, in seconds."""
        return PCM_16K.seconds_of(self._whole_bytes)

    def take_unsent(self) -> bytes:
        """Return the audio that the replica has not received yet, and mark it as sent."""
        audio, start = self._audio, self._sent_bytes
        self._sent_bytes = end = len(audio) & ~1
        return bytes(audio[start:end])

    def replay(self, number: int) -> Iterator[StreamCommand]:
        """Yield everything from the first sample on, and mark it as sent."""
        self._must_catch_up = self._published.audio_ms >= 0
        self._sent_bytes, start = self._whole_bytes, 0
        for finish in self._finishes:
            if finish.answer.done():
                continue
            yield from cut(number, self._audio[start : finish.end_bytes])
            yield FinishUtterance(number, finish.number)
            start = finish.end_bytes
        yield from cut(number, self._audio[start : self._sent_bytes])

    def hear(self, heard: StreamHeard) -> None:
        """Take a result from the replica that the stream is pinned to."""
        if heard.finish is None:
            self._publish(heard)
            return
        for finish in self._finishes:
            if finish.number == heard.finish and not finish.answer.done():
                finish.answer.set_result(Hypothesis(heard.text, len(heard.text), heard.audio_ms, heard.ends_utterance))

    def fail(self, error: EngineError) -> None:
        """Fail everyone who waits. The next `finalize` starts afresh."""
        for finish in self._finishes:
            if not finish.answer.done():
                finish.answer.set_exception(error)
                finish.answer.exception()  # retrieve it, since perhaps nobody waits any more
        self._finishes = [finish for finish in self._finishes if not finish.has_failed]

    # --- internals ----------------------------------------------------------------------------------------------------

    @property
    def _whole_bytes(self) -> int:
        """Length of the pushed audio in whole samples. Half a sample waits for its other half."""
        return len(self._audio) & ~1

    def _begin_finish(self) -> Finish:
        number = self._finishes[-1].number + 1 if self._finishes else 1
        finish = Finish(number, self._whole_bytes, asyncio.get_running_loop().create_future())
        self._finishes.append(finish)
        self._placement.send_finish(self, finish)
        return finish

    async def _answered(self, finish: Finish) -> Hypothesis:
        while not finish.answer.done():
            await asyncio.wait({finish.answer}, timeout=self._patience.answer_s)
            if not finish.answer.done():
                self._placement.try_elsewhere(self)
        # The answer is shielded because another `finalize` may be waiting for it.
        return await asyncio.shield(finish.answer)

    def _publish(self, heard: StreamHeard) -> None:
        before = self._published
        if self._is_closed or not heard.text.startswith(before.text[: before.stable_chars]):
            return
        if self._must_catch_up and heard.audio_ms <= before.audio_ms:
            return
        stable_chars = max(heard.stable_chars, before.stable_chars)
        is_news = (heard.text, stable_chars) != (before.text, before.stable_chars)
        self._published = _Published(heard.text, stable_chars, heard.audio_ms)
        if is_news:
            self._on_partial(Hypothesis(heard.text, stable_chars, heard.audio_ms))
        if heard.ends_utterance:
            self._on_partial(Hypothesis(heard.text, stable_chars, heard.audio_ms, ends_utterance=True))
