"""Speech detection by energy, so that real audio drives real turns, and a turn detector with a fixed opinion."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import numpy as np

from deployments.engines.scripted.script import Script
from pipelines.audio.pcm import PCM_16K
from pipelines.ports import SpeechScore

_WINDOW_MS = 32


class ScriptedSpeechStream:
    """A stream of `ScriptedSpeechDetector`."""

    def __init__(self, threshold_rms: float, on_score: Callable[[SpeechScore], None]) -> None:
        self._threshold_rms = threshold_rms
        self._on_score = on_score
        self._buffer = bytearray()
        self._end_ms = 0
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    def push(self, pcm_16k: bytes) -> None:
        if self._is_closed:
            return
        self._buffer += pcm_16k
        while len(self._buffer) >= PCM_16K.bytes_of(_WINDOW_MS):
            window = np.frombuffer(bytes(self._buffer[: PCM_16K.bytes_of(_WINDOW_MS)]), "<i2").astype(np.float32)
            del self._buffer[: PCM_16K.bytes_of(_WINDOW_MS)]
            self._end_ms += _WINDOW_MS
            is_loud = math.sqrt(float(window @ window) / window.size) >= self._threshold_rms
            self._loop.call_soon(self._deliver, SpeechScore(0.98 if is_loud else 0.02, self._end_ms, _WINDOW_MS))

    def _deliver(self, score: SpeechScore) -> None:
        if not self._is_closed:
            self._on_score(score)

    def close(self) -> None:
        self._is_closed = True


class ScriptedSpeechDetector:
    """Calls a window speech when its level is at least `threshold_dbfs`."""

    def __init__(self, *, threshold_dbfs: float = -45.0) -> None:
        self._threshold_rms = 32768.0 * 10.0 ** (threshold_dbfs / 20.0)

    def open(self, on_score: Callable[[SpeechScore], None]) -> ScriptedSpeechStream:
        """Open a stream; scores come in the next loop iteration after the push that completes their window."""
        return ScriptedSpeechStream(self._threshold_rms, on_score)

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""


class ScriptedTurnDetector:
    """Judges every utterance with the same `probability`, which a test may change at any time."""

    def __init__(self, probability: float = 0.95, script: Script | None = None) -> None:
        self.probability = probability
        self.script = script or Script()

    async def completion_probability(self, pcm_16k: bytes) -> float:
        await self.script.act()
        return self.probability if len(pcm_16k) >= 2 else 0.0

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""
