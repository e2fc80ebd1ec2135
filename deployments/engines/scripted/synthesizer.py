"""A synthesizer that hums a quiet tone for as long as the words would take."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from functools import lru_cache

import numpy as np

from deployments.engines.scripted.script import Script
from pipelines.audio.pcm import PCM_24K
from pipelines.ports import SpeechChunk, SpeechRequest, WordTime

_TONE_HZ = 220
_TONE_AMPLITUDE = 600  # about -35 dBFS: audible in a recording, harmless in a headset
_MS_PER_SPOKEN_CHAR = 65  # about 150 words a minute
_CHUNK_MS = 160


class ScriptedSynthesizer:
    """Hums for as long as the words would take, with a time for every word.

    Attributes:
        requests: every request started.
    """

    def __init__(self, *, script: Script | None = None, chunk_delay_s: float = 0.0) -> None:
        self.script = script or Script()
        self.chunk_delay_s = chunk_delay_s
        self.requests: list[SpeechRequest] = []

    async def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        self.requests.append(request)
        await self.script.act()
        words = word_times_by_length(request.text, request.speed)
        if not words:
            return
        total_ms = words[-1].end_ms
        for start_ms in range(0, total_ms, _CHUNK_MS):
            if start_ms:
                await asyncio.sleep(self.chunk_delay_s)  # noqa: TID251 (the same)
            end_ms = min(start_ms + _CHUNK_MS, total_ms)
            starting = tuple(word for word in words if start_ms <= word.start_ms < end_ms)
            yield SpeechChunk(_tone(start_ms, end_ms), starting)

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""


def word_times_by_length(text: str, speed: float = 1.0) -> list[WordTime]:
    """Return a time for each word with a letter or digit, based on its length at 150 words a minute."""
    times: list[WordTime] = []
    position, clock_ms = 0, 0
    for word in text.split():
        position = text.index(word, position) + len(word)
        if any(character.isalnum() for character in word):
            length_ms = round((len(word) + 1) * _MS_PER_SPOKEN_CHAR / speed)
            times.append(WordTime(position, clock_ms, clock_ms + length_ms))
            clock_ms += length_ms
    return times


@lru_cache(maxsize=1024)
def _tone(start_ms: int, end_ms: int) -> bytes:
    index = np.arange(PCM_24K.samples_of(start_ms), PCM_24K.samples_of(end_ms))
    wave = _TONE_AMPLITUDE * np.sin(2 * math.pi * _TONE_HZ * index / PCM_24K.rate_hz)
    return wave.astype("<i2").tobytes()
