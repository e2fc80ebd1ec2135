"""A tiny model learns for some steps, goes on where it stopped, and its export is a recogniser that streams."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ingest_jobs.speech.corpus.grammar import Grammar
from ingest_jobs.speech.corpus.manifest import ManifestLine, write_manifest
from ingest_jobs.speech.training.first_words import learn_first_words
from ingest_jobs.speech.training.model import ModelSize
from ingest_jobs.speech.training.training import Trainer, TrainingPlan, hearing_weights, load_averaged

pytestmark = [pytest.mark.contract, pytest.mark.timeout(180), pytest.mark.filterwarnings("ignore")]

SIZE = ModelSize(width=32, layers=1, heads=2, pieces=48, subsampling_channels=16)
PLAN = TrainingPlan(minutes=10, batch_seconds=6, max_steps=4, warm_up_steps=2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sounds with texts; nothing can be learned from them, and nothing has to be."""
    folder = tmp_path_factory.mktemp("corpus")
    rng, grammar = np.random.default_rng(1), Grammar.load()
    draw = random.Random(1)
    lines = []
    for index in range(40):
        soundfile.write(folder / f"{index}.wav", 0.1 * rng.standard_normal(24_000), 16_000)
        lines.append(ManifestLine(f"{index}.wav", 1.5, grammar.draw(draw), "none", True, "grammar"))
    write_manifest(folder / "train.jsonl", lines)
    write_manifest(folder / "dev.jsonl", lines[:4])
    return folder


def test_training_resumes_and_its_export_streams(corpus: Path, tmp_path: Path) -> None:
    first = Trainer([corpus], tmp_path, PLAN, SIZE, resume=False)
    ended = first.run(lambda *_: None)
    assert ended is not None
    assert ended.step == 4
    weights = {name: value.clone() for name, value in first.model.state_dict().items()}

    again = Trainer([corpus], tmp_path, replace(PLAN, max_steps=6), SIZE, resume=True)
    assert again.step == 4
    assert all(torch.equal(value, weights[name]) for name, value in again.model.state_dict().items())
    last = again.run(lambda *_: None)
    assert last is not None
    assert last.step == 6
    assert last.audio_hours >= ended.audio_hours
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in log] == [4, 6]

    path = tmp_path / "model.nemo"
    load_averaged(tmp_path).save_to(str(path))
    assert path.stat().st_size < 3_000_000
    assert str(tmp_path).encode() not in path.read_bytes()
    assert_streams(path)


def test_training_begins_with_the_encoder_that_learned_the_first_words(corpus: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []
    learned = learn_first_words(corpus, tmp_path, SIZE, updates=3, on_update=lambda *said: seen.append(said))
    assert [update for update, _ in seen] == [1, 2, 3]
    assert all(np.isfinite(loss) for _, loss in seen)
    assert not any(name.startswith("decoder") for name in learned)

    begun = Trainer([corpus], tmp_path, PLAN, SIZE, resume=False, weights=learned)
    weights = begun.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in learned.items())
    unlearned = Trainer([corpus], tmp_path / "other", PLAN, SIZE, resume=False).model.state_dict()
    assert any(not torch.equal(value, unlearned[name]) for name, value in learned.items())


def test_training_goes_on_from_another_one_with_more_speech(corpus: Path, tmp_path: Path) -> None:
    first = Trainer([corpus], tmp_path / "first", PLAN, SIZE, resume=False)
    first.run(lambda *_: None)
    learned = hearing_weights(tmp_path / "first")

    second = tmp_path / "second"
    shutil.copytree(tmp_path / "first" / "tokenizer", second / "tokenizer")
    begun = Trainer([corpus, corpus], second, PLAN, SIZE, resume=False, weights=learned)
    assert all(torch.equal(value, learned[name]) for name, value in begun.model.state_dict().items())
    # It hears already, so the speech is distorted from the beginning.
    assert begun._difficulty(0.0) == begun._difficulty(1.0)
    ended = begun.run(lambda *_: None)
    assert ended is not None
    assert ended.step == 4
    again = Trainer([corpus, corpus], second, PLAN, SIZE, resume=True)
    assert again._difficulty(0.0) == begun._difficulty(0.0)


def assert_streams(path: Path) -> None:
    from deployments.engines.nemo import NemoSettings
    from deployments.engines.nemo.recognizer import open_nemo_recognizer

    recognizer = open_nemo_recognizer(path, NemoSettings(device="cpu"))
    try:
        recognizer.check_health()
    finally:
        recognizer.close()
