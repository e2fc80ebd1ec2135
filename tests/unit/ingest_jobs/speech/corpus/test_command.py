"""The command that makes a corpus: what it plans and gives to the voices, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ingest_jobs.speech.corpus import command, prose
from ingest_jobs.speech.corpus.making import VoiceFiles
from ingest_jobs.speech.corpus.plan import Minutes, PlannedUtterance, plan_corpus

pytestmark = pytest.mark.unit
WORDS = "order tent return kayak lantern warranty question invoice"


class Maker:
    """Stands in the place of the voices, which take an hour: keeps what it is given, and tells progress."""

    def __init__(self) -> None:
        self.plan: Sequence[PlannedUtterance] = ()
        self.given: tuple[Any, ...] = ()
        self.is_interrupted = False

    def __call__(
        self,
        plan: Sequence[PlannedUtterance],
        files: VoiceFiles,
        folder: Path,
        *,
        processes: int,
        on_progress: Callable[[int, float], None],
    ) -> dict[str, float]:
        self.plan, self.given = plan, (files, folder, processes)
        on_progress(1, 2.5)
        if self.is_interrupted:
            raise KeyboardInterrupt
        return {"train": 5400.0, "test": 36.0}


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Maker:
    made = Maker()
    monkeypatch.setattr(command, "make_corpus", made)
    # Reading all installed packages takes a quarter of a minute, and is not what is tested.
    monkeypatch.setattr(prose, "package_sentences", lambda _: ["returns the length of the list"])
    return made


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    (folder / "voices").mkdir(parents=True)
    for name in ("piper.onnx", "kokoro.onnx"):
        (folder / name).touch()
    (folder / "vocab.txt").write_text("\n".join(WORDS.split()))
    return folder


def arguments(weights: Path, *more: str) -> list[str]:
    files = {
        "--piper-model": "piper.onnx",
        "--kokoro-model": "kokoro.onnx",
        "--kokoro-voices": "voices",
        "--vocabulary": "vocab.txt",
    }
    given = [part for option, name in files.items() for part in (option, str(weights / name))]
    minutes = [part for engine in ("piper", "kokoro", "espeak", "pico") for part in (f"--{engine}-minutes", "0")]
    return [str(weights.parent / "corpus"), *given, *minutes, *more]


def test_corpus_is_planned_as_asked_and_its_hours_are_told(
    maker: Maker, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = weights.parent / "corpus"
    assert command.main(arguments(weights, "--pico-minutes", "1", "--seed", "11", "--processes", "3")) == 0
    assert list(maker.plan) == plan_corpus(Minutes(0, 0, 0, 1), weights / "vocab.txt", 11)
    assert {each.engine for each in maker.plan if each.split == "train"} >= {"pico"}
    files = VoiceFiles(weights / "piper.onnx", weights / "kokoro.onnx", weights / "voices")
    assert maker.given == (files, folder, 3)
    told = capsys.readouterr().out.replace("\n", "")
    assert "train      1.50 h" in told
    assert "test       0.01 h" in told
    assert "test.jsonl" in told


def test_interrupted_command_says_that_it_goes_on(
    maker: Maker, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.is_interrupted = True
    assert command.main(arguments(weights)) == 130
    assert "the same command resumes from here" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["piper.onnx", "kokoro.onnx", "vocab.txt"])
def test_missing_file_is_named_before_anything_is_drawn(
    maker: Maker, weights: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (weights / name).unlink()
    assert command.main(arguments(weights)) == 2
    told = "".join(capsys.readouterr().out.split("\n"))
    assert f"there is no {weights / name}" in told
    assert "voxray asr corpus" in told
    assert maker.given == ()


def test_option_that_is_needed_is_asked_for(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([str(weights)])
    assert ended.value.code == 2
    assert "--piper-model, --kokoro-model, --kokoro-voices, --vocabulary" in capsys.readouterr().err
