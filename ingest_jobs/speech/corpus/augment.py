"""Distortions of clean speech: pace, level, noise, babble, rooms, and the telephone. Samples are float32 at 16 kHz."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr
from scipy.signal import fftconvolve

from ingest_jobs.speech.corpus.voices.voice import Samples
from pipelines.audio.codecs import decode_mu_law, encode_mu_law
from pipelines.audio.pcm import PCM_16K

_TELEPHONE_HZ = 8_000
_BABBLE_VOICES = 4
# Ratio of the direct path to the first echoes: the sound arrives directly first, and then from the walls.
_DIRECT_GAIN = 1.0


def change_pace(samples: Samples, factor: float) -> Samples:
    """Return the samples played `factor` times as fast. Pitch and formants shift too, which makes a new speaker."""
    played: Samples = soxr.resample(samples, PCM_16K.rate_hz, PCM_16K.rate_hz / factor, quality="LQ").astype(np.float32)
    return played


def rms(samples: Samples) -> float:
    """Return the root mean square, or 0 without samples."""
    return float(np.sqrt(np.mean(np.square(samples), dtype=np.float64))) if samples.size else 0.0


def speech_rms(samples: Samples) -> float:
    """Return the level of the audible parts: the RMS of samples within 40 dB of the peak."""
    if not samples.size:
        return 0.0
    return rms(samples[np.abs(samples) > 0.01 * float(np.abs(samples).max())])


def add_noise(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Return speech plus noise of equal length, at a ratio of the speech's audible level to the noise."""
    level = rms(noise)
    if level == 0.0:
        return samples
    mixed: Samples = samples + noise * np.float32(speech_rms(samples) / level * 10 ** (-snr_db / 20))
    return mixed


def coloured_noise(count: int, rng: np.random.Generator, slope: float) -> Samples:
    """Return `count` samples of noise whose power falls with frequency to the `slope` (0 white, 1 pink, 2 brown)."""
    spectrum = np.fft.rfft(rng.standard_normal(count, np.float32))
    frequency = np.maximum(np.fft.rfftfreq(count, 1 / PCM_16K.rate_hz), 20.0)
    shaped: Samples = np.fft.irfft(spectrum * frequency ** (-slope / 2), count).astype(np.float32)
    return shaped / np.float32(max(1e-9, rms(shaped)))


def babble(count: int, others: Callable[[], Samples], rng: np.random.Generator) -> Samples:
    """Return `count` samples of several other voices at once."""
    mixed = np.zeros(count, np.float32)
    for _ in range(_BABBLE_VOICES):
        voice = others()
        if voice.size:
            mixed += np.resize(np.roll(voice, int(rng.integers(voice.size))), count)
    return mixed


def room(samples: Samples, rng: np.random.Generator, reverberation_s: float) -> Samples:
    """Return the speech in a room: noise that decays by 60 dB in `reverberation_s`, after the direct sound.

    The length and the level of the audible parts are kept.
    """
    count = max(2, int(reverberation_s * PCM_16K.rate_hz))
    tail = rng.standard_normal(count).astype(np.float32) * 10 ** (-3 * np.arange(count, dtype=np.float32) / count)
    tail[: int(0.002 * PCM_16K.rate_hz)] = 0
    # The closer the speaker, the stronger the direct path.
    response = tail * np.float32(rng.uniform(0.15, 0.6) / max(1e-9, float(np.linalg.norm(tail))))
    response[0] = _DIRECT_GAIN
    echoed = fftconvolve(samples, response)[: samples.size].astype(np.float32)
    scaled: Samples = echoed * np.float32(speech_rms(samples) / max(1e-9, speech_rms(echoed)))
    return scaled


def telephone(samples: Samples) -> Samples:
    """Return the speech after a G.711 line: 8 kHz, mu-law, back to 16 kHz. The length may differ by a sample."""
    narrow = soxr.resample(samples, PCM_16K.rate_hz, _TELEPHONE_HZ)
    pcm = np.round(np.clip(narrow, -1, 1) * 32767).astype("<i2").tobytes()
    heard = np.frombuffer(decode_mu_law(encode_mu_law(pcm)), "<i2").astype(np.float32) / 32768
    wide: Samples = soxr.resample(heard, _TELEPHONE_HZ, PCM_16K.rate_hz).astype(np.float32)
    return wide


@dataclass(frozen=True, slots=True)
class Distortion:
    """How often and how strongly each distortion is applied to a training utterance.

    Attributes:
        pace: factors, drawn evenly; snr_db and reverberation_s: ranges, drawn evenly.
        lead_s, tail_s: ranges of silence before and after.
    """

    pace: tuple[float, float] = (0.85, 1.15)
    gain_db: tuple[float, float] = (-14.0, 6.0)
    noise_share: float = 0.4
    babble_share: float = 0.1
    snr_db: tuple[float, float] = (5.0, 30.0)
    room_share: float = 0.25
    reverberation_s: tuple[float, float] = (0.15, 0.7)
    telephone_share: float = 0.3
    lead_s: tuple[float, float] = (0.05, 0.6)
    tail_s: tuple[float, float] = (0.3, 0.6)

    def apply(self, samples: Samples, rng: np.random.Generator, others: Callable[[], Samples]) -> Samples:
        """Return the utterance as it might reach the recogniser, within [-1, 1]."""
        samples = change_pace(samples, float(rng.uniform(*self.pace)))
        lead, tail = (int(rng.uniform(*span) * PCM_16K.rate_hz) for span in (self.lead_s, self.tail_s))
        samples = np.pad(samples, (lead, tail))
        if rng.random() < self.room_share:
            samples = room(samples, rng, float(rng.uniform(*self.reverberation_s)))
        drawn = rng.random()
        if drawn < self.noise_share:
            noise = coloured_noise(samples.size, rng, float(rng.uniform(0.0, 2.0)))
            samples = add_noise(samples, noise, float(rng.uniform(*self.snr_db)))
        elif drawn < self.noise_share + self.babble_share:
            samples = add_noise(samples, babble(samples.size, others, rng), float(rng.uniform(10.0, self.snr_db[1])))
        samples = samples * np.float32(10 ** (rng.uniform(*self.gain_db) / 20))
        if rng.random() < self.telephone_share:
            samples = telephone(samples)
        heard: Samples = np.clip(samples, -1.0, 1.0)
        return heard
