"""Streaming recognition on top of a recogniser that handles only whole utterances.

Theory of operation. While the caller speaks, the growing utterance is recognised repeatedly, and the words on which two
consecutive recognitions agree become the stable prefix (LocalAgreement-2, Macháček et al. 2023). A stream has at most
one recognition in flight, and no partial one is started while `finalize` waits:

    push ─────────┬──────────────┬───────────────┬── finalize
    recognise  [---- 0.7 s ----][------ 1.4 s -----]  │ covers all audio: this result is the final one,
                                                      │ else: recognise all, now

`finalize` does not wait for a partial that covers only part of the audio: the partial's result is dropped and the final
recognition starts at once. With one engine thread it queues behind the partial, which is no slower than waiting; with
several threads it is faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import takewhile

from pipelines.audio.pcm import PCM_16K
from pipelines.errors import Component, EngineError
from pipelines.ports import Hypothesis

_EDGE_MARKS = ".,;:!?\"'()-\u2026"


@dataclass(frozen=True, slots=True)
class Recognition:
    """What a recogniser heard in one utterance.

    Attributes:
        text: the words; "" when there is no speech.
        mean_logprob: mean natural log probability per token; 0.0 when the recogniser does not provide it.
        no_speech: probability (0.0 to 1.0) that there is no speech.
    """

    text: str
    mean_logprob: float = 0.0
    no_speech: float = 0.0


Recognizer = Callable[[bytes], Awaitable[Recognition]]


class WindowedTranscriber:
    """Implements `pipelines.ports.Transcriber` over `recognize`.

    Args:
        recognize: recognises a whole utterance (16 kHz PCM); a local engine's method or a remote handle's. Must
            tolerate being cancelled.
        partial_interval_ms: amount of new audio after which the next partial is recognised.
    """

    def __init__(self, recognize: Recognizer, *, partial_interval_ms: int) -> None:
        self._recognize = recognize
        self._partial_interval_ms = partial_interval_ms

    def open(self, on_partial: Callable[[Hypothesis], None]) -> WindowedStream:
        """Open a stream. Must be called on the event loop's thread."""
        return WindowedStream(self._recognize, self._partial_interval_ms, on_partial)


@dataclass(slots=True)
class _Run:
    """A recognition of the utterance's first `size_bytes`. `finals` counts the `finalize` calls that wait for it."""

    size_bytes: int
    task: asyncio.Task[Hypothesis]
    finals: int = 0


class WindowedStream:
    """One utterance; see `pipelines.ports.TranscriptStream`."""

    def __init__(
        self, recognize: Recognizer, partial_interval_ms: int, on_partial: Callable[[Hypothesis], None]
    ) -> None:
        self._recognize = recognize
        self._interval_bytes = PCM_16K.bytes_of(partial_interval_ms)
        self._on_partial = on_partial
        self._audio = bytearray()
        self._newest: _Run | None = None
        self._previous_words: list[str] = []
        self._finals_waiting = 0
        self._is_closed = False

    def push(self, pcm_16k: bytes) -> None:
        if self._is_closed:
            return
        self._audio += pcm_16k
        self._start_partial_if_due()

    async def finalize(self) -> Hypothesis:
        """Recognise all audio pushed so far; calls that cover the same audio share one recognition.

        Raises:
            EngineError: the stream is closed, or recognition failed (a second time, if the first failure was
                retryable).
        """
        self._finals_waiting += 1
        try:
            return await self._finalize(len(self._audio))
        finally:
            self._finals_waiting -= 1
            self._start_partial_if_due()

    async def aclose(self) -> None:
        self._is_closed = True
        self._audio.clear()
        if self._newest is not None:
            self._newest.task.cancel()
            await asyncio.gather(self._newest.task, return_exceptions=True)

    async def _finalize(self, wanted_bytes: int) -> Hypothesis:
        if self._is_closed:
            raise EngineError(Component.TRANSCRIBER, "the stream is closed", retryable=False)
        if wanted_bytes == 0:
            return Hypothesis("", 0, 0)
        run = self._newest
        if run is None or run.size_bytes < wanted_bytes or _has_failed(run.task):
            if run is not None and not run.finals:
                run.task.cancel()
            run = self._start(wanted_bytes)
        run.finals += 1
        try:
            # The recognition is shielded because another `finalize` may be waiting for it.
            heard = await asyncio.shield(run.task)
        finally:
            run.finals -= 1
        return Hypothesis(heard.text, len(heard.text), heard.audio_ms)

    def _start(self, size_bytes: int) -> _Run:
        task = asyncio.create_task(self._recognize_first(size_bytes), name="recognise")
        self._newest = _Run(size_bytes, task)
        return self._newest

    def _start_partial_if_due(self) -> None:
        covered = self._newest.size_bytes if self._newest else 0
        is_busy = self._newest is not None and not self._newest.task.done()
        if self._is_closed or is_busy or self._finals_waiting or len(self._audio) - covered < self._interval_bytes:
            return
        self._start(len(self._audio)).task.add_done_callback(self._publish)

    def _publish(self, task: asyncio.Task[Hypothesis]) -> None:
        # A failed partial is only a missed preview. `finalize` recognises again and reports the failure.
        if self._is_closed or task.cancelled() or task.exception() is not None:
            return
        self._on_partial(task.result())
        self._start_partial_if_due()

    async def _recognize_first(self, size_bytes: int) -> Hypothesis:
        audio = bytes(self._audio[:size_bytes])
        try:
            recognition = await self._recognize(audio)
        except EngineError as error:
            if not error.retryable:
                raise
            recognition = await self._recognize(audio)
        return self._agree(recognition.text.strip(), size_bytes)

    def _agree(self, text: str, size_bytes: int) -> Hypothesis:
        words = text.split()
        pairs = zip(_keys(words), _keys(self._previous_words), strict=False)
        agreed = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._previous_words = words
        return Hypothesis(text, _chars(text, agreed), PCM_16K.ms_of(size_bytes))


def _has_failed(task: asyncio.Task[Hypothesis]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _keys(words: list[str]) -> list[str]:
    """Return the words as compared for agreement, without case and punctuation, which change as the sentence grows."""
    return [word.strip(_EDGE_MARKS).lower() or word for word in words]


def _chars(text: str, words: int) -> int:
    """Return the length of the first `words` words of `text`."""
    position = 0
    for word in text.split()[:words]:
        position = text.index(word, position) + len(word)
    return position
