"""A scripted streaming recogniser: the real loop, its slots and batches, and the stage link around it, without a model.

What it hears is a function of the sound alone: a word for every loud chunk, chosen by the chunk's samples. The same
audio gives the same words, in whatever pieces and at whatever pace it comes, and other audio gives others.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from deployments.engines.chunk_stepper import Heard, SlotAudio
from pipelines.speech_link import HeardWord

_BYTES_PER_MS = 32
_SILENCE_PEAK = 300  # about -41 dBFS
_WORDS = (
    "amber birch cedar delta ember fjord grove hazel inlet juniper kelp larch meadow north otter pine quartz river "
    "sorrel tundra umber violet willow yarrow zephyr"
).split()


class ScriptedStepper:
    """`deployments.engines.chunk_stepper.ChunkStepper` without a model.

    Args:
        slots: streams at a time.
        chunk_ms: audio heard at once.
        max_batch: streams in one call.
    """

    def __init__(self, *, slots: int = 256, chunk_ms: int = 160, max_batch: int = 128) -> None:
        self.first_bytes = self.chunk_bytes = chunk_ms * _BYTES_PER_MS
        self.slots = slots
        self.max_batch = max_batch
        self._heard: dict[int, tuple[int, tuple[HeardWord, ...]]] = {}

    def warm_up(self) -> Mapping[int, float]:
        return {}

    def open(self, slot: int, tenant: str) -> None:  # noqa: ARG002 (no tenant has phrases here)
        self._heard[slot] = (0, ())

    def step(self, chunks: Sequence[SlotAudio]) -> list[Heard]:
        for chunk in chunks:
            end_ms, words = self._heard[chunk.slot]
            self._heard[chunk.slot] = (end_ms + len(chunk.pcm_16k) // _BYTES_PER_MS, words + _words_in(chunk, end_ms))
        return [replace(_hypothesis(self._heard[chunk.slot][1], is_end=False), words=()) for chunk in chunks]

    def finish(self, rests: Sequence[SlotAudio]) -> list[Heard]:
        heard = [self._heard[rest.slot] for rest in rests]
        return [
            _hypothesis(words + _words_in(rest, end_ms), is_end=True)
            for rest, (end_ms, words) in zip(rests, heard, strict=True)
        ]

    def free(self, slot: int) -> None:
        self._heard.pop(slot, None)

    def close(self) -> None:
        self._heard.clear()


def _words_in(chunk: SlotAudio, start_ms: int) -> tuple[HeardWord, ...]:
    """Return the word of a loud chunk, nothing for a silent one."""
    samples = np.frombuffer(chunk.pcm_16k[: len(chunk.pcm_16k) // 2 * 2], "<i2").astype(np.int32)
    if not samples.size or int(np.abs(samples).max()) < _SILENCE_PEAK:
        return ()
    word = _WORDS[zlib.crc32(chunk.pcm_16k) % len(_WORDS)]
    return (HeardWord(word, start_ms, start_ms + len(chunk.pcm_16k) // _BYTES_PER_MS, 1.0),)


def _hypothesis(words: tuple[HeardWord, ...], *, is_end: bool) -> Heard:
    """Return all words; the last of them may still change until the end."""
    text = " ".join(word.text for word in words)
    sure = len(text) if is_end else len(" ".join(word.text for word in words[:-1]))
    return Heard(text, sure, words=words)
