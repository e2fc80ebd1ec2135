"""The interface through which the loop (`streaming/loop.py`) recognises chunks of many streams at once.

A recogniser with caches takes a stream's audio in chunks of one size, each exactly once and in order. What is left when
the caller falls silent is less than a chunk, and the end of a word is often heard only in the silence after it. There
are therefore two calls: `step` takes chunks and continues from them; `finish` hears the rest *as if* silence followed,
and then forgets it, so that an answer in the middle never changes what is heard later:

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
    """Audio of the stream in `slot`, as 16-bit little-endian mono PCM at 16 kHz."""

    slot: int
    pcm_16k: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard on the stream of one slot since it was opened.

    Attributes:
        text: the whole hypothesis.
        stable_chars: length of the prefix of `text` that later results keep.
        ends_utterance: whether the recogniser considers the utterance finished, reported once for each end.
        words: the words given by `finish`; empty in `step`.
    """

    text: str
    stable_chars: int
    ends_utterance: bool = False
    words: tuple[HeardWord, ...] = ()


class ChunkStepper(Protocol):
    """Recognises on one thread, which makes all calls. If a call raises, no slot has changed.

    Attributes:
        first_bytes: size of a stream's first chunk, which differs because the caches are still empty.
        chunk_bytes: size of every later chunk, and thus how far a stream advances in a tick.
        slots: how many streams can be open at a time, numbered from 0.
        max_batch: the most streams in one call of `step` or `finish`.
    """

    first_bytes: int
    chunk_bytes: int
    slots: int
    max_batch: int

    def warm_up(self) -> Mapping[int, float]:
        """Run every batch shape, and return the duration of a warm step in ms, by number of streams."""

    def open(self, slot: int, tenant: str) -> None:
        """Begin a stream in a free slot. `tenant` selects whose phrases are expected."""

    def step(self, chunks: Sequence[SlotAudio]) -> list[Heard]:
        """Recognise one whole chunk of each of these streams and advance them. Returns answers in order."""

    def finish(self, rests: Sequence[SlotAudio]) -> list[Heard]:
        """Recognise less than a chunk of each of these streams, followed by silence, without changing any slot."""

    def free(self, slot: int) -> None:
        """Forget the stream in `slot`. Never raises."""

    def close(self) -> None:
        """Free the model."""
