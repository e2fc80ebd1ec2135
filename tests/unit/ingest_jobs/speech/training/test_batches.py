from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ingest_jobs.speech.training.batches import DistortedBatches, Recording, _drawn, grouped, is_easy

pytestmark = pytest.mark.unit


class Letters:
    """A tokenizer whose pieces are characters."""

    def text_to_ids(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def recordings(count: int) -> list[Recording]:
    lengths = np.random.default_rng(3).uniform(0.5, 6.0, count)
    return [Recording(Path(f"{index}.wav"), float(length), "x") for index, length in enumerate(lengths)]


def test_every_recording_comes_once_and_padded_groups_stay_within_the_bound() -> None:
    every = recordings(300)
    groups = list(grouped(every, 40.0, np.random.default_rng(1)))
    assert sorted(each.path.name for group in groups for each in group) == sorted(each.path.name for each in every)
    assert all(len(group) * max(each.seconds for each in group) <= 40.0 for group in groups)
    audio = sum(each.seconds for each in every)
    padded = sum(len(group) * max(each.seconds for each in group) for group in groups)
    assert audio / padded > 0.85


def test_batches_hold_audio_and_texts_and_follow_the_manifest(tmp_path: Path) -> None:
    def write(count: int) -> None:
        lines = [
            {
                "audio_filepath": f"{n}.wav",
                "duration": 1.0,
                "text": "ab" * (n + 1),
                "voice": "piper joe",
                "source": "grammar",
            }
            for n in range(count)
        ]
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")

    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * np.sin(np.arange(16_000) / 9), 16_000)
    write(2)
    data = DistortedBatches(
        [tmp_path / "train.jsonl"], Letters(), 10.0, torch.tensor([0.0, 1.0], dtype=torch.float64), seed=1
    )
    batches = iter(data)
    first = next(batches)
    assert sorted(first.texts) == ["ab", "abab"]
    assert first.audio.shape == (2, int(first.samples.max()))
    assert sorted(first.pieces.tolist()) == [2, 4]
    assert first.seconds == pytest.approx(float(first.samples.sum()) / 16_000)
    write(3)
    assert len(next(batches).texts) == 3


def test_easy_speech_is_one_voice_saying_what_callers_say(tmp_path: Path) -> None:
    lines = [
        {"audio_filepath": f"{n}.wav", "duration": 1.0, "text": text, "voice": voice, "source": "grammar"}
        for n, (text, voice) in enumerate([("clear", "piper joe"), ("accent", "espeak en"), ("blend", "kokoro a+b")])
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * np.sin(np.arange(16_000) / 9), 16_000)
    difficulty = torch.tensor([1.0, 0.0], dtype=torch.float64)
    batches = iter(DistortedBatches([tmp_path / "train.jsonl"], Letters(), 10.0, difficulty, seed=1))
    assert next(batches).texts == ("clear",)
    difficulty[0] = 0.0
    assert {"blend", "clear"} <= set(next(batches).texts)


def test_long_speech_other_voices_and_other_texts_are_not_easy() -> None:
    easy = Recording(Path("1.wav"), 4.0, "yes please", "piper joe", "grammar")
    assert is_easy(easy)
    for other in ({"seconds": 6.0}, {"voice": "espeak en"}, {"source": "words"}):
        assert not is_easy(replace(easy, **other))


def test_voices_and_texts_come_as_often_as_they_are_wanted() -> None:
    kinds = [("piper joe", "grammar"), ("kokoro a", "grammar"), ("espeak en", "grammar"), ("piper joe", "words")]
    every = [Recording(Path(f"{n}.wav"), 1.0, "x", *kind) for n in range(1000) for kind in kinds]
    drawn = Counter((each.voice, each.source) for each in _drawn(every, np.random.default_rng(1)))
    assert [round(drawn[kind] / 1000, 1) for kind in kinds] == [1.0, 2.0, 0.6, pytest.approx(0.25, abs=0.06)]
