from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_jobs.speech.corpus.augment import (
    Distortion,
    add_noise,
    babble,
    change_pace,
    coloured_noise,
    rms,
    room,
    speech_rms,
    telephone,
)
from ingest_jobs.speech.corpus.voices.voice import Samples, trimmed
from pipelines.audio.pcm import PCM_16K

pytestmark = pytest.mark.unit


def tone(seconds: float = 1.0, hz: float = 440.0, level: float = 0.2) -> Samples:
    at = np.arange(int(seconds * PCM_16K.rate_hz)) / PCM_16K.rate_hz
    return (level * np.sin(2 * np.pi * hz * at)).astype(np.float32)


@given(st.floats(0, 40), st.integers(0, 1000), st.floats(0, 2))
@settings(max_examples=30, deadline=None)
def test_noise_lies_below_the_speech_by_the_ratio(snr_db: float, seed: int, slope: float) -> None:
    speech = np.pad(tone(), 4000)
    noise = coloured_noise(speech.size, np.random.default_rng(seed), slope)
    added = add_noise(speech, noise, snr_db) - speech
    assert 20 * np.log10(speech_rms(speech) / rms(added)) == pytest.approx(snr_db, abs=0.1)


def test_silent_noise_changes_nothing() -> None:
    assert np.array_equal(add_noise(tone(), np.zeros(PCM_16K.rate_hz, np.float32), 10), tone())


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.15])
def test_pace_changes_length_and_pitch(factor: float) -> None:
    changed = change_pace(tone(2.0), factor)
    assert changed.size == pytest.approx(2 * PCM_16K.rate_hz / factor, abs=2)
    peak = np.argmax(np.abs(np.fft.rfft(changed))) * PCM_16K.rate_hz / changed.size
    assert peak == pytest.approx(440 * factor, abs=3)


def test_telephone_takes_what_is_above_4_khz() -> None:
    low, high = telephone(tone(hz=1000)), telephone(tone(hz=5500))
    assert rms(low) == pytest.approx(rms(tone(hz=1000)), rel=0.05)
    assert rms(high) < 0.02 * rms(tone(hz=5500))
    assert abs(low.size - PCM_16K.rate_hz) <= 1


def test_coloured_noise_falls_with_frequency_by_its_slope() -> None:
    noise = coloured_noise(1 << 16, np.random.default_rng(3), slope=2.0)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency = np.fft.rfftfreq(noise.size, 1 / PCM_16K.rate_hz)
    octaves = [power[(frequency > hz) & (frequency < 2 * hz)].mean() for hz in (500, 1000, 2000)]
    assert octaves[0] / octaves[1] == pytest.approx(4, rel=0.3)
    assert octaves[1] / octaves[2] == pytest.approx(4, rel=0.3)
    assert rms(noise) == pytest.approx(1.0, rel=0.01)


def test_room_keeps_length_and_level_and_rings_after_the_sound() -> None:
    speech = np.pad(tone(0.5), (0, PCM_16K.rate_hz // 2))
    echoed = room(speech, np.random.default_rng(2), reverberation_s=0.5)
    assert echoed.size == speech.size
    assert speech_rms(echoed) == pytest.approx(speech_rms(speech), rel=0.01)
    after = slice(int(0.52 * PCM_16K.rate_hz), int(0.6 * PCM_16K.rate_hz))
    assert rms(echoed[after]) > 0.005
    assert rms(echoed[-PCM_16K.rate_hz // 10 :]) < 0.2 * rms(echoed[after])


def test_babble_is_as_long_as_asked_and_mixes_voices() -> None:
    mixed = babble(5000, lambda: tone(0.1), np.random.default_rng(1))
    assert mixed.size == 5000
    assert rms(mixed) > 0


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_every_distortion_is_audible_bounded_and_padded(seed: int) -> None:
    heard = Distortion().apply(tone(1.0), np.random.default_rng(seed), lambda: tone(0.3))
    assert heard.dtype == np.float32
    assert np.abs(heard).max() <= 1.0
    assert (1 / 1.15 + 0.35) * PCM_16K.rate_hz - 10 <= heard.size <= (1 / 0.85 + 1.2) * PCM_16K.rate_hz + 10
    assert np.isfinite(heard).all()
    assert rms(heard) > 0.005


def test_trimming_takes_silence_and_leaves_a_margin() -> None:
    padded = np.pad(tone(0.5), 8000)
    assert trimmed(padded).size == pytest.approx(0.5 * PCM_16K.rate_hz + 2 * 480, abs=40)
    assert not trimmed(np.zeros(1000, np.float32)).size
