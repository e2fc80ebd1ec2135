from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ingest_jobs.speech.evaluation.recordings import load_pcm, read_manifest

pytestmark = pytest.mark.unit


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(1600, 0.5), 16_000)
    return path


def manifest(folder: Path, *lines: object) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n", "utf-8")
    return path


def test_lines_are_read_with_their_tags_relative_to_the_manifest(tmp_path: Path, recording: Path) -> None:
    line = {"audio_filepath": "a.wav", "text": "yes", "duration": 0.1, "noise": "10 dB", "voice_seen": False, "x": 1}
    (read,), broken = read_manifest(manifest(tmp_path, line, ""))
    assert (read.path, read.text, read.line) == (recording, "yes", 1)
    assert read.tags == {"noise": "10 dB", "voice_seen": "False"}
    assert not broken


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"audio_filepath": ', "no JSON"),
        ("[1]", "not a JSON object"),
        ({"audio_filepath": "a.wav"}, "the field text"),
        ({"audio_filepath": "a.wav", "text": " "}, "the field text"),
        ({"audio_filepath": 3, "text": "yes"}, "the field audio_filepath"),
        ({"audio_filepath": "gone.wav", "text": "yes"}, "no such file"),
    ],
)
def test_a_broken_line_is_named_and_the_others_stay(tmp_path: Path, recording: Path, line: object, reason: str) -> None:
    good = {"audio_filepath": "a.wav", "text": "yes"}
    read, (broken,) = read_manifest(manifest(tmp_path, good, line, good))
    assert [each.line for each in read] == [1, 3]
    assert broken.line == 2
    assert reason in broken.reason


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_audio_of_any_rate_and_channels_becomes_16_khz_mono(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = tmp_path / "b.wav"
    soundfile.write(path, np.full((rate_hz // 2, channels), 0.5), rate_hz)
    pcm = load_pcm(path)
    assert pcm.dtype == np.int16
    assert pcm.size == pytest.approx(8_000, abs=2)
    assert pcm[4000] == pytest.approx(16_384, abs=40)


def test_what_is_no_audio_is_refused_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "c.wav"
    path.write_bytes(b"not audio")
    with pytest.raises(ValueError, match="not readable as audio"):
        load_pcm(path)
