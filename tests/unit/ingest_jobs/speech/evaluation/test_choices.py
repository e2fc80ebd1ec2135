from __future__ import annotations

from pathlib import Path

import pytest

from ingest_jobs.speech.evaluation.command import _choices, _parser

pytestmark = pytest.mark.unit


def labels(folder: Path, *arguments: str) -> list[str]:
    parsed = _parser().parse_args(["manifest.jsonl", "--nemo", str(folder / "model.nemo"), *arguments])
    return [choice.label for choice in _choices(parsed)]


def test_chunks_and_language_models_are_measured_in_every_combination(tmp_path: Path) -> None:
    (tmp_path / "model.lm").write_bytes(b"")
    several = ["--chunk-ms", "80", "--chunk-ms", "160", "--language-model", "none", "--language-model", "auto"]
    assert labels(tmp_path, *several) == [
        "nemo 80 ms", "nemo 80 ms with language", "nemo 160 ms", "nemo 160 ms with language",
    ]  # fmt: skip
    assert labels(tmp_path) == ["nemo 160 ms with language"]


def test_without_a_language_model_auto_is_none(tmp_path: Path) -> None:
    assert labels(tmp_path, "--language-model", "auto", "--language-model", "none") == ["nemo 160 ms"]
