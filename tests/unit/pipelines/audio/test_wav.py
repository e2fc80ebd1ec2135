"""WAV files of any rate and channel count come in; what goes out is read back as it was."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from pipelines.audio.pcm import PCM_16K, PCM_24K
from pipelines.audio.wav import WavError, pcm_16k_from_wav, read_wav, resampled, wav_header, write_wav

pytestmark = pytest.mark.unit

TONE_24K = (8000 * np.sin(np.arange(2_400) * 2 * np.pi * 440 / PCM_24K.rate_hz)).astype("<i2").tobytes()


def wav(pcm: bytes, *, channels: int = 1, width: int = 2, rate_hz: int = 8_000) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return target.getvalue()


def test_what_is_written_is_read_back() -> None:
    data = write_wav(TONE_24K, PCM_24K.rate_hz)
    assert read_wav(data) == (TONE_24K, PCM_24K.rate_hz)
    assert data == wav(TONE_24K, rate_hz=PCM_24K.rate_hz)
    assert data.startswith(wav_header(len(TONE_24K), PCM_24K.rate_hz))


def test_channels_are_mixed_to_one() -> None:
    left_and_right = np.array([[1000, 3000], [-2000, 0]], "<i2").tobytes()
    assert read_wav(wav(left_and_right, channels=2)) == (np.array([2000, -1000], "<i2").tobytes(), 8_000)


def test_any_rate_becomes_that_of_the_engines() -> None:
    pcm_16k = pcm_16k_from_wav(wav(TONE_24K, rate_hz=PCM_24K.rate_hz))
    assert len(pcm_16k) == PCM_16K.bytes_of(100)
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm_16k, "<i2")))
    assert np.argmax(spectrum) * 10 == 440
    assert resampled(TONE_24K, 24, 24) is TONE_24K


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"RIFF....", "not a readable WAV file"),
        (b"", "not a readable WAV file"),
        (wav(b"\x80" * 80, width=1), "8-bit samples"),
        (wav(b""), "no audio"),
    ],
)
def test_file_that_cannot_be_heard_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(WavError, match=reason):
        read_wav(data)
