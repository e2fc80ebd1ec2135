"""Audio that voice activity detection by energy takes for speech, and silence."""

from __future__ import annotations

import base64

import numpy as np

RATE_HZ = 24_000


def voice(duration_ms: int) -> bytes:
    """A loud buzz, 24 kHz PCM16."""
    time_s = np.arange(RATE_HZ * duration_ms // 1000) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * 140 * harmonic * time_s) / harmonic for harmonic in range(1, 12))
    return (8000 * wave / np.abs(wave).max()).astype("<i2").tobytes()


def silence(duration_ms: int) -> bytes:
    return bytes(RATE_HZ * duration_ms // 1000 * 2)


def frames(pcm: bytes, frame_ms: int = 20) -> list[str]:
    """Cut into base64 frames, as a client sends them."""
    size = RATE_HZ * frame_ms // 1000 * 2
    return [base64.b64encode(pcm[start : start + size]).decode() for start in range(0, len(pcm), size)]
