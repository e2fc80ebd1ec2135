"""Calls that speak in real time into a linked transcriber, and a recogniser that only notes when what arrived.

Every frame of 20 ms bears in its first bytes the time at which the call pushed it, every partial the time at which the
recogniser said it; both processes read the same monotonic clock.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    OpenStream,
    PushAudio,
    PushMany,
    RecognizerLink,
    StreamCommand,
    StreamHeard,
    StreamResult,
)
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkedStream, LinkPatience
from pipelines.ports import Hypothesis

FRAME_MS = 20
FRAME_BYTES = FRAME_MS * 32
TICK_S = 0.02
PARTIAL_EVERY_FRAMES = 8  # chunks of 160 ms
FINISH_EVERY_S = 0.1
_STAMP = struct.Struct("d")


def stamped_frame() -> bytes:
    """Return a frame that bears the time."""
    return _STAMP.pack(time.monotonic()).ljust(FRAME_BYTES, b"\1")


class NotingRecognizer:
    """A recogniser without a model: says something of each stream every 160 ms of audio, in one list a tick.

    Args:
        one_each: False: one list a tick; True: a list for each stream.
    """

    def __init__(self, *, one_each: bool) -> None:
        self.arrived: list[tuple[float, Sequence[bytes]]] = []
        self._one_each = one_each
        self._links: list[_NotingLink] = []
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take_arrivals_ms(self) -> list[float]:
        """Return how long each frame was under way, since this was asked last."""
        arrived, self.arrived = self.arrived, []
        return [
            (at_s - _STAMP.unpack_from(piece, start)[0]) * 1000
            for at_s, pieces in arrived
            for piece in pieces
            for start in range(0, len(piece), FRAME_BYTES)
        ]

    def open_link(self, on_results: Callable[[list[StreamResult]], None]) -> _NotingLink:
        link = _NotingLink(self, on_results)
        self._links.append(link)
        return link

    def warm_up(self) -> None:
        """Nothing to warm."""

    def check_health(self) -> None:
        """Always well."""

    def stats(self) -> dict[str, float]:
        return {"streams": float(sum(len(link.frames) for link in self._links)), "slots": 10_000.0}

    def close(self) -> None:
        self._is_closed = True
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closed:
            time.sleep(TICK_S)
            for link in tuple(self._links):
                link.tick(one_each=self._one_each)


class _NotingLink:
    def __init__(self, owner: NotingRecognizer, on_results: Callable[[list[StreamResult]], None]) -> None:
        self.frames: dict[int, int] = {}
        self._told: dict[int, int] = {}
        self._owner, self._on_results = owner, on_results

    def send(self, commands: Sequence[StreamCommand]) -> None:
        now_s = time.monotonic()
        for command in commands:
            match command:
                case OpenStream(stream):
                    self.frames[stream] = self._told[stream] = 0
                case PushMany(streams, pieces):
                    self._owner.arrived.append((now_s, pieces))
                    for stream, pcm_16k in zip(streams, pieces, strict=True):
                        self.frames[stream] += len(pcm_16k) // FRAME_BYTES
                case PushAudio(stream, pcm_16k):
                    self._owner.arrived.append((now_s, (pcm_16k,)))
                    self.frames[stream] += len(pcm_16k) // FRAME_BYTES
                case FinishUtterance(stream, finish):
                    self._on_results([StreamHeard(stream, "", 0, 0, finish)])
                case CloseStream(stream):
                    self.frames.pop(stream, None)

    def close(self) -> None:
        self.frames.clear()

    def tick(self, *, one_each: bool) -> None:
        results: list[StreamResult] = []
        for stream, frames in tuple(self.frames.items()):
            if frames - self._told.get(stream, 0) >= PARTIAL_EVERY_FRAMES:
                self._told[stream] = frames
                results.append(
                    StreamHeard(stream, f"{time.monotonic():.6f} " + "a hypothesis of usual size " * 3, 0, frames)
                )
        for batch in [[result] for result in results] if one_each else [results] if results else []:
            self._on_results(batch)


@dataclass(slots=True)
class CallFigures:
    """What the gateway's side saw. CPU is of its process, in seconds of one core for a second."""

    cpu: float = 0.0
    partials_ms: list[float] = field(default_factory=list)
    finishes_ms: list[float] = field(default_factory=list)


class SpeakingCalls:
    """`count` calls in phases of their own, each pushing a frame every 20 ms."""

    def __init__(self, open_stream: Callable[[Callable[[Hypothesis], None]], LinkedStream | None], count: int) -> None:
        self.figures = CallFigures()
        self._streams = [open_stream(self._on_partial) for _ in range(count)]

    async def speak(self, seconds: float) -> None:
        """Speak; measure CPU over the time of it."""
        process = psutil.Process()
        before, began_s = process.cpu_times(), time.monotonic()
        finishing = asyncio.create_task(self._finish_now_and_then())
        step_s = FRAME_MS / 1000 / 20
        groups = [self._streams[group::20] for group in range(20)]
        steps = int(seconds / step_s)
        for step in range(steps):
            await asyncio.sleep(max(0.0, began_s + step * step_s - time.monotonic()))
            stamp = stamped_frame()
            for stream in groups[step % 20]:
                if stream is not None:
                    stream.push(stamp)
        finishing.cancel()
        after, took_s = process.cpu_times(), time.monotonic() - began_s
        self.figures.cpu = (after.user + after.system - before.user - before.system) / took_s

    async def aclose(self) -> None:
        for stream in self._streams:
            if stream is not None:
                await stream.aclose()

    def _on_partial(self, heard: Hypothesis) -> None:
        self.figures.partials_ms.append((time.monotonic() - float(heard.text.split(" ", 1)[0])) * 1000)

    async def _finish_now_and_then(self) -> None:
        for stream in self._streams * 100:
            await asyncio.sleep(FINISH_EVERY_S)
            if stream is not None:
                began_s = time.monotonic()
                await stream.finalize()
                self.figures.finishes_ms.append((time.monotonic() - began_s) * 1000)


class OneEachLink:
    """`RecognizerLink` that sends a message for each command."""

    def __init__(self, link: RecognizerLink) -> None:
        self._link = link

    def send(self, commands: Sequence[StreamCommand]) -> None:
        for command in commands:
            if isinstance(command, PushMany):
                for stream, pcm_16k in zip(command.streams, command.pieces, strict=True):
                    self._link.send([PushAudio(stream, pcm_16k)])
            else:
                self._link.send([command])

    def close(self) -> None:
        self._link.close()


class OneEachTranscriber(LinkedTranscriber):
    """Sends a message for each call."""

    def join(self, name: str, link: RecognizerLink, *, streams: int, slots: int) -> None:
        super().join(name, OneEachLink(link), streams=streams, slots=slots)


def transcriber(tick_ms: int) -> LinkedTranscriber:
    """A linked transcriber that keeps long utterances; `tick_ms` 0: a message for each call, at once."""
    patience = LinkPatience(tick_ms=tick_ms, max_utterance_s=600)
    return LinkedTranscriber(patience) if tick_ms else OneEachTranscriber(patience)
