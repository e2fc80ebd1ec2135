"""A scripted streaming recogniser: the whole stage link, batches and slots, without a model.

What it hears is a function of the audio alone: a word for every loud chunk, chosen by the chunk's samples, or the next
word of a given text. The same audio gives the same words, in whatever pieces and at whatever pace it comes.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.errors import EngineError
from pipelines.speech_link import (
    CloseStream,
    FinishUtterance,
    HeardWord,
    OpenStream,
    PushAudio,
    StreamCommand,
    StreamFailed,
    StreamHeard,
    StreamRefused,
    StreamResult,
)

_BYTES_PER_MS = 32
_SILENCE_PEAK = 300  # about -41 dBFS
_WORDS = (
    "amber birch cedar delta ember fjord grove hazel inlet juniper kelp larch meadow north otter pine quartz river "
    "sorrel tundra umber violet willow yarrow zephyr"
).split()
# Audio that comes all at once is heard over several ticks, as an engine with other streams to serve does.
_CHUNKS_PER_TICK = 8


@dataclass(eq=False, slots=True)
class _Stream:
    number: int
    pcm_16k: bytearray = field(default_factory=bytearray)
    words: list[HeardWord] = field(default_factory=list)
    heard_bytes: int = 0
    pushed_bytes: int = 0
    finishes: deque[tuple[int, int]] = field(default_factory=deque)

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


class ScriptedStreamingRecognizer:
    """`pipelines.speech_link.StreamingRecognizer` without a model.

    Args:
        text: words to hear one after the other, in a circle; "": words chosen by the sound.
        slots: streams at a time; more are refused.
        chunk_ms: audio heard at once.
        tick_ms: how often the thread looks.
    """

    def __init__(self, text: str = "", *, slots: int = 256, chunk_ms: int = 160, tick_ms: int = 10) -> None:
        self._script = text.split()
        self._slots = slots
        self._chunk_bytes = chunk_ms * _BYTES_PER_MS
        self._tick_s = tick_ms / 1000
        self._links: list[_ScriptedLink] = []
        self._lock = threading.Lock()
        self._is_closed = False
        self._lag_ms = 0.0
        self._thread = threading.Thread(target=self._run, name="scripted recogniser", daemon=True)
        self._thread.start()

    def open_link(self, on_results: Callable[[list[StreamResult]], None]) -> _ScriptedLink:
        """Join; see `StreamingRecognizer.open_link`."""
        link = _ScriptedLink(self, on_results)
        with self._lock:
            self._links.append(link)
        return link

    def warm_up(self) -> None:
        """Nothing to warm."""

    def check_health(self) -> None:
        if not self._thread.is_alive():
            raise EngineError("transcriber", "the recogniser's thread is dead", retryable=True)

    def stats(self) -> dict[str, float]:
        return {"streams": float(self.taken()), "slots": float(self._slots), "tick_lag_ms": self._lag_ms}

    def close(self) -> None:
        self._is_closed = True
        self._thread.join()

    def taken(self) -> int:
        """Return how many slots hold a stream."""
        with self._lock:
            return sum(len(link.streams) for link in self._links)

    @property
    def is_full(self) -> bool:
        return self.taken() >= self._slots

    def leave(self, link: _ScriptedLink) -> None:
        """Free the slots of a link that is closed."""
        with self._lock:
            if link in self._links:
                self._links.remove(link)

    def hear(self, stream: _Stream, finish_bytes: int | None) -> None:
        """Hear whole chunks, up to `finish_bytes` of the stream also the last part; some of a long burst."""
        for _ in range(_CHUNKS_PER_TICK):
            left = self._chunk_bytes if finish_bytes is None else finish_bytes - stream.heard_bytes
            chunk = bytes(stream.pcm_16k[: min(left, self._chunk_bytes)])
            if not chunk or (len(chunk) < self._chunk_bytes and finish_bytes is None):
                return
            del stream.pcm_16k[: len(chunk)]
            start_ms = stream.heard_bytes // _BYTES_PER_MS
            stream.heard_bytes += len(chunk)
            samples = np.frombuffer(chunk[: len(chunk) // 2 * 2], "<i2").astype(np.int32)
            if samples.size and int(np.abs(samples).max()) >= _SILENCE_PEAK:
                words = self._script or _WORDS
                index = len(stream.words) if self._script else zlib.crc32(chunk)
                end_ms = stream.heard_bytes // _BYTES_PER_MS
                stream.words.append(HeardWord(words[index % len(words)], start_ms, end_ms, 1.0))

    def _run(self) -> None:
        while not self._is_closed:
            began_s = time.monotonic()
            with self._lock:
                links = tuple(self._links)
            for link in links:
                link.step()
            took_s = time.monotonic() - began_s
            self._lag_ms = max(0.0, took_s - self._tick_s) * 1000
            time.sleep(max(0.0, self._tick_s - took_s))  # noqa: TID251  the tick itself


class _ScriptedLink:
    """`pipelines.speech_link.RecognizerLink` of one gateway."""

    def __init__(self, owner: ScriptedStreamingRecognizer, on_results: Callable[[list[StreamResult]], None]) -> None:
        self._owner = owner
        self._on_results = on_results
        self._waiting: deque[StreamCommand] = deque()
        self.streams: dict[int, _Stream] = {}

    def send(self, commands: Sequence[StreamCommand]) -> None:
        self._waiting.extend(commands)

    def close(self) -> None:
        self._owner.leave(self)

    def step(self) -> None:
        """Take what waits, hear some of it, and report; on the recogniser's thread."""
        results: list[StreamResult] = []
        for _ in range(len(self._waiting)):
            results += self._take(self._waiting.popleft())
        for stream in tuple(self.streams.values()):
            results += self._advance(stream)
        if results:
            self._on_results(results)

    def _take(self, command: StreamCommand) -> list[StreamResult]:
        number = command.stream
        if isinstance(command, OpenStream):
            if number in self.streams or self._owner.is_full:
                return [StreamRefused(number, "every slot is taken")]
            self.streams[number] = _Stream(number)
            return []
        stream = self.streams.get(number)
        if stream is None:
            is_end = isinstance(command, CloseStream)
            return [] if is_end else [StreamFailed(number, "no such stream", retryable=True)]
        match command:
            case PushAudio(pcm_16k=pcm_16k):
                stream.pcm_16k += pcm_16k
                stream.pushed_bytes += len(pcm_16k)
            case FinishUtterance(finish=finish):
                stream.finishes.append((finish, stream.pushed_bytes))
            case CloseStream():
                del self.streams[number]
        return []

    def _advance(self, stream: _Stream) -> list[StreamResult]:
        results: list[StreamResult] = []
        words_before = len(stream.words)
        while stream.finishes:
            finish, end = stream.finishes[0]
            self._owner.hear(stream, end)
            if stream.heard_bytes < end:
                break
            stream.finishes.popleft()
            results.append(self._heard(stream, finish))
        if not stream.finishes:
            self._owner.hear(stream, None)
            if len(stream.words) > words_before and not results:
                results.append(self._heard(stream, None))
        return results

    def _heard(self, stream: _Stream, finish: int | None) -> StreamHeard:
        text, words = stream.text, tuple(stream.words)
        stable = len(text) if finish is not None else max(0, len(" ".join(word.text for word in words[:-1])))
        audio_ms = stream.heard_bytes // _BYTES_PER_MS
        return StreamHeard(stream.number, text, stable, audio_ms, finish, words=words if finish is not None else ())
