"""What the caller says: a recording, and the position at which its voice ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.audio.pcm import PCM_24K
from pipelines.audio.wav import WavError, read_wav, resampled
from pipelines.errors import VoxrayError

_WINDOW_MS = 10
_VOICE_BELOW_PEAK_DB = 35.0
_SILENT_PEAK = 200


class RecordingError(VoxrayError):
    """The recording cannot be used as a question."""


@dataclass(frozen=True, slots=True)
class Recording:
    """24 kHz PCM16, and the position of its last voiced sample in ms."""

    pcm_24k: bytes
    voice_end_ms: int

    @property
    def duration_ms(self) -> int:
        return PCM_24K.ms_of(len(self.pcm_24k))


def load_recording(path: Path) -> Recording:
    """Read a WAV file.

    Raises:
        RecordingError: the file is missing, is not a 16-bit WAV file, or is silent. The message says which.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}") from None
    try:
        return recording_from(data)
    except (WavError, RecordingError) as error:
        raise RecordingError(f"{path}: {error}") from None


def recording_from(wav: bytes) -> Recording:
    """Make a recording from the bytes of a WAV file. Raises the same errors as `load_recording`."""
    pcm, rate_hz = read_wav(wav)
    pcm_24k = resampled(pcm, rate_hz, PCM_24K.rate_hz)
    return Recording(pcm_24k, voice_end_ms(pcm_24k))


def voice_end_ms(pcm_24k: bytes) -> int:
    """Return where the voice ends, in ms: at the last 10 ms window within 35 dB of the loudest one.

    Raises:
        RecordingError: the audio is silent throughout.
    """
    window = PCM_24K.samples_of(_WINDOW_MS)
    samples = np.frombuffer(pcm_24k, "<i2").astype(np.float32)
    samples = samples[: len(samples) // window * window].reshape(-1, window)
    if not samples.size or np.abs(samples).max() < _SILENT_PEAK:
        raise RecordingError("nothing is heard in the recording")
    rms = np.sqrt((samples**2).mean(axis=1))
    voiced = np.flatnonzero(rms >= rms.max() * 10 ** (-_VOICE_BELOW_PEAK_DB / 20))
    return (int(voiced[-1]) + 1) * _WINDOW_MS
