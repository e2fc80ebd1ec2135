"""Drives recognisers with recordings as calls would: streams of small pieces, partials, a final text.

`hear_all` sends the audio of many recordings as fast as it is taken, to get texts and CPU time. `hear_live` sends it in
real time, to measure how far partials lag behind the voice and how long the final text takes after the last sound.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.audio.pcm import PCM_16K
from pipelines.errors import EngineError
from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    OpenStream,
    PushAudio,
    StreamCommand,
    StreamFailed,
    StreamHeard,
    StreamingRecognizer,
    StreamRefused,
    StreamResult,
)
from pipelines.ports import Transcriber

_FRAME_MS = 20
Pcm = NDArray[np.int16]


@dataclass(slots=True)
class Listening:
    """The result of hearing one recording.

    Attributes:
        text: the final text, "" on failure.
        final_ms: time from the end of the audio to the final text.
        lags_ms: for each partial that changed the text, the time from sending its audio to receiving it.
        first_ms: time from the start of the audio to the first word; None without partials.
        error: why there is no text.
    """

    text: str = ""
    final_ms: float = 0.0
    lags_ms: list[float] = field(default_factory=list)
    first_ms: float | None = None
    error: str = ""


class Engine(Protocol):
    """A recogniser under test."""

    async def hear(self, pcm: Pcm, *, is_live: bool) -> Listening:
        """Recognise one recording, in real time if `is_live`. May be called concurrently."""

    def close(self) -> None:
        """Free the model."""


class LinkEngine:
    """A `StreamingRecognizer` on one link. Must be created on the event loop's thread."""

    def __init__(self, recognizer: StreamingRecognizer) -> None:
        self._recognizer = recognizer
        self._loop = asyncio.get_running_loop()
        self._results: dict[int, Callable[[StreamResult], None]] = {}
        self._numbers = itertools.count(1)
        self._link = recognizer.open_link(self._take)

    async def hear(self, pcm: Pcm, *, is_live: bool) -> Listening:
        number, listening = next(self._numbers), Listening()
        done: asyncio.Future[None] = self._loop.create_future()
        clock = _Clock(self._loop)

        def on_result(result: StreamResult) -> None:
            if isinstance(result, StreamRefused | StreamFailed):
                listening.error = listening.error or result.reason
            elif isinstance(result, StreamHeard):
                clock.note(listening, result.text, result.audio_ms)
                if result.finish is None:
                    return
                listening.text = result.text
            if not done.done():
                done.set_result(None)

        self._results[number] = on_result
        self._link.send([OpenStream(number)])
        async for piece in clock.pieces(pcm, is_live=is_live):
            self._link.send([PushAudio(number, piece)])
        ended = self._loop.time()
        last: list[StreamCommand] = [FinishUtterance(number, 1)]
        self._link.send(last)
        await done
        listening.final_ms = (self._loop.time() - ended) * 1000
        self._link.send([CloseStream(number)])
        del self._results[number]
        return listening

    def close(self) -> None:
        self._link.close()
        self._recognizer.close()

    def _take(self, results: list[StreamResult]) -> None:
        self._loop.call_soon_threadsafe(self._hand_out, results)

    def _hand_out(self, results: list[StreamResult]) -> None:
        for result in results:
            if (on_result := self._results.get(result.stream)) is not None:
                on_result(result)


class TranscriberEngine:
    """A `Transcriber` that recognises growing windows. `close` frees what it recognises with."""

    def __init__(self, transcriber: Transcriber, close: Callable[[], None]) -> None:
        self._transcriber = transcriber
        self.close = close

    async def hear(self, pcm: Pcm, *, is_live: bool) -> Listening:
        loop, listening = asyncio.get_running_loop(), Listening()
        clock = _Clock(loop)
        stream = self._transcriber.open(lambda heard: clock.note(listening, heard.text, heard.audio_ms))
        try:
            async for piece in clock.pieces(pcm, is_live=is_live):
                stream.push(piece)
            ended = loop.time()
            listening.text = (await stream.finalize()).text
            listening.final_ms = (loop.time() - ended) * 1000
        except EngineError as error:
            listening.error = str(error)
        finally:
            await stream.aclose()
        return listening


class _Clock:
    """Records when audio was sent, to determine how late a text is."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began = loop.time()
        self._is_live = False
        self._known = ""

    async def pieces(self, pcm: Pcm, *, is_live: bool) -> AsyncIterator[bytes]:
        """Yield the recording, either in real time in frames of 20 ms or all at once."""
        self._began, self._is_live = self._loop.time(), is_live
        data = pcm.tobytes()
        if not is_live:
            yield data
            return
        step = PCM_16K.bytes_of(_FRAME_MS)
        for index, at in enumerate(range(0, len(data), step), start=1):
            # A frame can be sent once its last sample has been spoken.
            wait_s = self._began + index * _FRAME_MS / 1000 - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)  # noqa: TID251 - the pace of speech
            yield data[at : at + step]

    def note(self, listening: Listening, text: str, audio_ms: int) -> None:
        if not self._is_live or not text or text == self._known:
            return
        self._known = text
        now_ms = (self._loop.time() - self._began) * 1000
        listening.lags_ms.append(now_ms - audio_ms)
        if listening.first_ms is None:
            listening.first_ms = now_ms


async def hear_all(
    engine: Engine, recordings: Sequence[Pcm], streams: int, on_done: Callable[[], None], *, is_live: bool = False
) -> tuple[list[Listening], float]:
    """Recognise all recordings, `streams` at a time. Returns the results in order, and the CPU seconds used."""
    room = asyncio.Semaphore(streams)

    async def one(pcm: Pcm) -> Listening:
        async with room:
            heard = await engine.hear(pcm, is_live=is_live)
        on_done()
        return heard

    began = time.process_time()
    heard = await asyncio.gather(*(one(pcm) for pcm in recordings))
    return list(heard), time.process_time() - began
