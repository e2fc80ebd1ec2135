"""The interface of the corpus's voices."""

from __future__ import annotations

import random
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from pipelines.audio.pcm import PCM_16K

Samples = NDArray[np.float32]


class SpeakingEngine(Protocol):
    """A synthesizer with one or many named voices. One thread at a time."""

    def speak(self, text: str, speaker: str, rng: random.Random) -> Samples:
        """Return 16 kHz samples in [-1, 1], with pace and intonation varied by `rng`, or none if nothing was said."""


def at_16k(samples: Samples, rate_hz: int) -> Samples:
    """Return the samples at 16 kHz."""
    resampled: Samples = samples if rate_hz == PCM_16K.rate_hz else soxr.resample(samples, rate_hz, PCM_16K.rate_hz)
    return resampled.astype(np.float32)


def trimmed(samples: Samples, level: float = 0.01, margin_ms: int = 30) -> Samples:
    """Return the samples without leading and trailing silence, which are empty for silence."""
    loud = np.flatnonzero(np.abs(samples) > level * max(1e-6, float(np.abs(samples).max(initial=0.0))))
    if not loud.size:
        return samples[:0]
    margin = PCM_16K.samples_of(margin_ms)
    return samples[max(0, int(loud[0]) - margin) : int(loud[-1]) + margin]
