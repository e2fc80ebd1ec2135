"""Reads and writes WAV files of 16-bit PCM. Input may have any rate and channel count; output is mono."""

from __future__ import annotations

import io
import wave

import numpy as np
import soxr

from pipelines.audio.pcm import PCM_16K, SAMPLE_BYTES
from pipelines.errors import VoxrayError


class WavError(VoxrayError):
    """The data is not a WAV file of 16-bit PCM."""


def read_wav(data: bytes) -> tuple[bytes, int]:
    """Return a WAV file's audio as mono PCM16, and its rate in Hz.

    Raises:
        WavError: the data is not a WAV file, is not 16-bit PCM, or holds no audio.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate_hz = file.getnchannels(), file.getsampwidth(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise WavError(f"not a readable WAV file ({error})") from None
    if width != SAMPLE_BYTES:
        raise WavError(f"the WAV file holds {8 * width}-bit samples; 16-bit PCM is needed")
    frame_bytes = SAMPLE_BYTES * channels
    samples = np.frombuffer(frames[: len(frames) // frame_bytes * frame_bytes], "<i2").reshape(-1, channels)
    if not len(samples):
        raise WavError("the WAV file holds no audio")
    mono = samples[:, 0] if channels == 1 else samples.mean(axis=1).astype("<i2")
    return mono.tobytes(), rate_hz


def pcm_16k_from_wav(data: bytes) -> bytes:
    """Return a WAV file's audio as 16 kHz mono PCM16. Raises `WavError` like `read_wav`."""
    return resampled(*read_wav(data), PCM_16K.rate_hz)


def resampled(pcm: bytes, from_hz: int, to_hz: int) -> bytes:
    """Resample a whole recording of mono PCM16."""
    if from_hz == to_hz:
        return pcm
    samples = soxr.resample(np.frombuffer(pcm, "<i2"), from_hz, to_hz)
    return np.asarray(samples, dtype="<i2").tobytes()


def wav_header(data_bytes: int, rate_hz: int) -> bytes:
    """Return the 44-byte header of a mono PCM16 WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(rate_hz)
        file.setnframes(data_bytes // SAMPLE_BYTES)
        file.writeframesraw(b"")
    header = bytearray(buffer.getvalue()[:44])
    header[4:8] = (36 + data_bytes).to_bytes(4, "little")
    header[40:44] = data_bytes.to_bytes(4, "little")
    return bytes(header)


def write_wav(pcm: bytes, rate_hz: int) -> bytes:
    """Return mono PCM16 as the bytes of a WAV file."""
    return wav_header(len(pcm), rate_hz) + pcm
