"""A scripted streaming recogniser: the real loop, its slots and batches, and the stage link around it, without a model.

What it hears depends on the sound alone: every loud chunk is a word chosen by the chunk's samples. The same audio gives
the same words, in whatever pieces and at whatever pace it arrives, and different audio gives different words.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from deployments.engines.scripted import CHUNK_MS
from deployments.engines.streaming.chunk_stepper import Heard, SlotAudio
from pipelines.audio.pcm import PCM_16K
from pipelines.hearing.link import HeardWord

_SILENCE_PEAK = 300  # about -41 dBFS
_WORDS = (
    "amber birch cedar delta ember fjord grove hazel inlet juniper kelp larch meadow north otter pine quartz river "
    "sorrel tundra umber violet willow yarrow zephyr"
).split()


class ScriptedStepper:
    """`deployments.engines.streaming.chunk_stepper.ChunkStepper` without a model.

    Args:
        slots: number of concurrent streams.
        chunk_ms: length of the audio heard at once.
        max_batch: the most streams in one call.
        end_silence_ms: silence after words, in whole chunks, that ends an utterance; 0 means that none does.
    """

    def __init__(
        self, *, slots: int = 256, chunk_ms: int = CHUNK_MS, max_batch: int = 128, end_silence_ms: int = 0
    ) -> None:
        self.first_bytes = self.chunk_bytes = PCM_16K.bytes_of(chunk_ms)
        self.slots = slots
        self.max_batch = max_batch
        self._end_chunks = -(-end_silence_ms // chunk_ms)
        self._silent_chunks: dict[int, int] = {}
        self._heard: dict[int, tuple[int, tuple[HeardWord, ...]]] = {}

    def warm_up(self) -> Mapping[int, float]:
        return {}

    def open(self, slot: int, tenant: str) -> None:  # noqa: ARG002 (no tenant has phrases here)
        self._heard[slot], self._silent_chunks[slot] = (0, ()), 0

    def step(self, chunks: Sequence[SlotAudio]) -> list[Heard]:
        return [self._step(chunk) for chunk in chunks]

    def _step(self, chunk: SlotAudio) -> Heard:
        end_ms, before = self._heard[chunk.slot]
        new = _words_in(chunk, end_ms)
        self._heard[chunk.slot] = (end_ms + PCM_16K.ms_of(len(chunk.pcm_16k)), before + new)
        silent = 0 if new or not before else self._silent_chunks[chunk.slot] + 1
        self._silent_chunks[chunk.slot] = silent
        is_end = silent > 0 and silent == self._end_chunks
        return replace(_hypothesis(before + new, is_end=False), words=(), ends_utterance=is_end)

    def finish(self, rests: Sequence[SlotAudio]) -> list[Heard]:
        heard = [self._heard[rest.slot] for rest in rests]
        return [
            _hypothesis(words + _words_in(rest, end_ms), is_end=True)
            for rest, (end_ms, words) in zip(rests, heard, strict=True)
        ]

    def free(self, slot: int) -> None:
        self._heard.pop(slot, None)
        self._silent_chunks.pop(slot, None)

    def close(self) -> None:
        self._heard.clear()


def _words_in(chunk: SlotAudio, start_ms: int) -> tuple[HeardWord, ...]:
    """Return the word of a loud chunk, or nothing for a silent one."""
    samples = np.frombuffer(chunk.pcm_16k[: len(chunk.pcm_16k) // 2 * 2], "<i2").astype(np.int32)
    if not samples.size or int(np.abs(samples).max()) < _SILENCE_PEAK:
        return ()
    word = _WORDS[zlib.crc32(chunk.pcm_16k) % len(_WORDS)]
    return (HeardWord(word, start_ms, start_ms + PCM_16K.ms_of(len(chunk.pcm_16k)), 1.0),)


def _hypothesis(words: tuple[HeardWord, ...], *, is_end: bool) -> Heard:
    """Return all words, of which the last may still change until the end."""
    text = " ".join(word.text for word in words)
    sure = len(text) if is_end else len(" ".join(word.text for word in words[:-1]))
    return Heard(text, sure, words=words)
