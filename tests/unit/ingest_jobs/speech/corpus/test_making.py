"""What a corpus keeps of a voice: levelled speech of a usable length, in every condition that is tested."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ingest_jobs.speech.corpus.making import CONDITIONS, VoiceFiles, Voices, _condition
from ingest_jobs.speech.corpus.plan import PlannedUtterance
from ingest_jobs.speech.corpus.voices.voice import Samples

pytestmark = pytest.mark.unit
PLANNED = PlannedUtterance("k1", "test", "hello there", "pico", "en-US")


class Tone:
    """A voice that hums for a while."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def speak(self, _text: str, _speaker: str, _rng: random.Random) -> Samples:
        steps = np.arange(int(self.seconds * 16_000), dtype=np.float32)
        return (0.4 * np.sin(steps / 5)).astype(np.float32)


def spoken(seconds: float) -> Samples:
    voices = Voices(VoiceFiles(Path(), Path(), Path()))
    voices._engines["pico"] = Tone(seconds)
    return voices.speak(PLANNED)


def test_speech_is_levelled_and_what_is_too_short_or_long_is_dropped() -> None:
    samples = spoken(1.0)
    assert float(np.sqrt(np.mean(np.square(samples)))) == pytest.approx(0.07, rel=0.02)
    assert spoken(0.1).size == 0
    assert spoken(17.0).size == 0


@pytest.mark.parametrize("name", CONDITIONS)
def test_condition_is_written_with_silence_around_it_and_the_same_each_time(name: str, tmp_path: Path) -> None:
    line = _condition(PLANNED, name, spoken(1.0), tmp_path)
    first = (tmp_path / line.audio_filepath).read_bytes()
    samples, rate_hz = soundfile.read(tmp_path / line.audio_filepath)
    assert rate_hz == 16_000
    assert line.duration == pytest.approx(samples.size / rate_hz, abs=0.001)
    assert line.duration > 1.5
    assert line.noise == {"noise": "10 dB", "room": "room"}.get(name, "none")
    assert line.text == "hello there"
    assert (tmp_path / _condition(PLANNED, name, spoken(1.0), tmp_path).audio_filepath).read_bytes() == first
