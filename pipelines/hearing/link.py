"""What a gateway and a streaming recogniser say to each other: plain messages, many streams on one link.

A *link* joins one gateway replica to one recogniser replica and carries the streams of all calls of that pair. The
gateway collects what its calls have to say in a tick and sends it as one list of commands; the recogniser answers
with one list of results a tick. Nothing here knows how the lists travel (`deployments/`), nor what recognises.

Life of a stream, numbered by the gateway, never reused within a link:

    OpenStream ── PushAudio* ── FinishUtterance ── PushAudio* ── … ── CloseStream
                     │               │
               StreamHeard*     StreamHeard(finish=…)       StreamRefused / StreamFailed end it from the other side
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Take a slot. `tenant` chooses whose phrases are boosted."""

    stream: int
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class PushAudio:
    """More of the caller's speech: 16-bit little-endian mono PCM at 16 kHz, of any length."""

    stream: int
    pcm_16k: bytes


@dataclass(frozen=True, slots=True)
class PushMany:
    """`PushAudio` for many streams at once: what a tick has collected, without an object for each call.

    Attributes:
        streams: whose audio; a stream may come more than once.
        pieces: the audio of each, in the same order.
    """

    streams: Sequence[int]
    pieces: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class FinishUtterance:
    """Recognise all audio pushed so far; the answer is the `StreamHeard` that bears this `finish` number.

    The stream stays usable: the caller may go on speaking after a pause.
    """

    stream: int
    finish: int


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Free the slot; no result follows."""

    stream: int


StreamCommand = OpenStream | PushAudio | PushMany | FinishUtterance | CloseStream


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word, its place in the stream's audio in ms, and how sure the recogniser is (0.0 to 1.0)."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float


@dataclass(frozen=True, slots=True)
class StreamHeard:
    """What a stream has said so far; sent when it changed, and once for each `FinishUtterance`.

    Attributes:
        text: the whole hypothesis since the stream was opened.
        stable_chars: length of the prefix of `text` that later results will keep.
        audio_ms: how much of the pushed audio it covers.
        finish: number of the `FinishUtterance` that this answers, None for a partial.
        ends_utterance: the recogniser itself holds the utterance for ended.
        words: times and confidence; given with a finish, empty in partials.
    """

    stream: int
    text: str
    stable_chars: int
    audio_ms: int
    finish: int | None = None
    ends_utterance: bool = False
    words: tuple[HeardWord, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamRefused:
    """The stream was not opened: the recogniser is full, or about to stop. Another replica may take it."""

    stream: int
    reason: str


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """The stream is ended by an error; its slot is free. `retryable`: its audio may be tried once more elsewhere."""

    stream: int
    reason: str
    retryable: bool


StreamResult = StreamHeard | StreamRefused | StreamFailed


class RecognizerLink(Protocol):
    """One gateway's end of a streaming recogniser. Thread-safe."""

    def send(self, commands: Sequence[StreamCommand]) -> None:
        """Queue commands, in order. Never blocks, never raises for a bad stream: that one gets `StreamFailed`."""

    def close(self) -> None:
        """Free all slots of this link; no result follows. Does nothing on successive calls."""


class StreamingRecognizer(Protocol):
    """Recognises many streams at once on one thread of its own."""

    def open_link(self, on_results: Callable[[list[StreamResult]], None]) -> RecognizerLink:
        """Join; `on_results` gets at most one list a tick, on the recogniser's thread, and must not block."""

    def warm_up(self) -> None:
        """Run every batch shape once, so that the first call is as fast as the next. Blocks."""

    def check_health(self) -> None:
        """Raise `EngineError` when the thread is dead, or its ticks have been late for longer than the bound."""

    def stats(self) -> dict[str, float]:
        """Return streams, slots, tick lag (ms), batch fill and audio seconds, for metrics and scaling."""

    def close(self) -> None:
        """Stop the thread and free the model."""
