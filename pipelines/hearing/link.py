"""The messages between a gateway and a streaming recogniser, which share one link for many streams.

A *link* joins one gateway replica to one recogniser replica and carries the streams of all calls of that pair. The
gateway collects the commands of its calls during a tick and sends them as one list; the recogniser answers with one
list of results per tick. This module knows neither how the lists travel (see `deployments/`) nor which engine
recognises.

The life of a stream, whose number is chosen by the gateway and never reused within a link:

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
    """Take a slot. `tenant` selects whose phrases are boosted."""

    stream: int
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class PushAudio:
    """More of the caller's speech: 16-bit little-endian mono PCM at 16 kHz, of any length."""

    stream: int
    pcm_16k: bytes


@dataclass(frozen=True, slots=True)
class PushMany:
    """`PushAudio` for many streams at once: the audio collected in a tick, without one object per call.

    Attributes:
        streams: the stream of each piece; a stream may occur more than once.
        pieces: the audio of each, in the same order.
    """

    streams: Sequence[int]
    pieces: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class FinishUtterance:
    """Recognise all audio pushed so far. The answer is the `StreamHeard` with this `finish` number.

    The stream stays usable, since the caller may continue speaking after a pause.
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
    """What has been heard on a stream so far. It is sent when it changes, and once for each `FinishUtterance`.

    Attributes:
        text: the whole hypothesis since the stream was opened.
        stable_chars: length of the prefix of `text` that later results will keep.
        audio_ms: how much of the pushed audio it covers.
        finish: number of the `FinishUtterance` that this answers, None for a partial.
        ends_utterance: whether the recogniser itself considers the utterance finished.
        words: times and confidence of each word, given with a finish and empty in partials.
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
    """The stream was not opened because the recogniser is full or about to stop. Another replica may take it."""

    stream: int
    reason: str


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """An error ended the stream and freed its slot. If `retryable`, its audio may be tried again elsewhere."""

    stream: int
    reason: str
    retryable: bool


StreamResult = StreamHeard | StreamRefused | StreamFailed


class RecognizerLink(Protocol):
    """One gateway's end of a streaming recogniser. Thread-safe."""

    def send(self, commands: Sequence[StreamCommand]) -> None:
        """Queue commands, in order.

        Never blocks, and never raises for a bad stream, which gets `StreamFailed` instead.
        """

    def close(self) -> None:
        """Free all slots of this link; no result follows. Does nothing on successive calls."""


class StreamingRecognizer(Protocol):
    """Recognises many streams at once on one thread of its own."""

    def open_link(self, on_results: Callable[[list[StreamResult]], None]) -> RecognizerLink:
        """Open a link. `on_results` is called on the recogniser's thread, at most once per tick, and must not block."""

    def warm_up(self) -> None:
        """Run every batch shape once, so that the first call is as fast as later ones. Blocks."""

    def check_health(self) -> None:
        """Raise `EngineError` when the thread has died or its ticks have been late for longer than allowed."""

    def stats(self) -> dict[str, float]:
        """Return counts of streams and slots, tick lag (ms), batch fill and audio seconds, for metrics and scaling."""

    def close(self) -> None:
        """Stop the thread and free the model."""
