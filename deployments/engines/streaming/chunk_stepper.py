"""What recognises chunks of many streams at once, as the loop around it sees it (`streaming/loop.py`).

A recogniser with caches takes a stream's audio in chunks of one size, each exactly once and in order. What is left when
the caller falls silent is less than a chunk, and the end of a word is often heard only in the silence after it. So
there are two calls: `step` takes chunks and goes on from them; `finish` hears the rest *as if* silence followed, and
forgets that it did, so that an answer in the middle never changes what is heard later:

    audio    |--first--|--chunk--|--chunk--|-rest- ▏ finish        ... -rest-and-more-|
    step          1         2         3                                     4
    finish                                  [-rest- + silence]  answered, not kept
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.hearing.link import HeardWord


@dataclass(frozen=True, slots=True)
class SlotAudio:
    """Audio of the stream in `slot`: 16-bit little-endian mono PCM at 16 kHz."""

    slot: int
    pcm_16k: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """What the stream of one slot has said since it was opened.

    Attributes:
        text: the whole hypothesis.
        stable_chars: length of the prefix of `text` that later results keep.
        ends_utterance: the recogniser holds the utterance for ended; said once for each end.
        words: given by `finish`, empty in `step`.
    """

    text: str
    stable_chars: int
    ends_utterance: bool = False
    words: tuple[HeardWord, ...] = ()


class ChunkStepper(Protocol):
    """Recognises on one thread, which makes all calls. A call that raises has changed no slot.

    Attributes:
        first_bytes: audio that the first chunk of a stream takes (caches are empty then, and the size differs).
        chunk_bytes: audio that every later chunk takes; also how far a stream goes on in a tick.
        slots: how many streams can be open at a time, numbered from 0.
        max_batch: most streams in one call of `step` or `finish`.
    """

    first_bytes: int
    chunk_bytes: int
    slots: int
    max_batch: int

    def warm_up(self) -> Mapping[int, float]:
        """Run every batch shape; return the milliseconds of a step by its number of streams, as measured warm."""

    def open(self, slot: int, tenant: str) -> None:
        """Begin a stream in a free slot. `tenant` chooses whose phrases are expected."""

    def step(self, chunks: Sequence[SlotAudio]) -> list[Heard]:
        """Recognise one whole chunk of each of these streams, and go on from there; answers in order."""

    def finish(self, rests: Sequence[SlotAudio]) -> list[Heard]:
        """Recognise less than a chunk of each of these streams, and the silence after it; no slot is changed."""

    def free(self, slot: int) -> None:
        """Forget the stream in `slot`. Never raises."""

    def close(self) -> None:
        """Free the model."""
