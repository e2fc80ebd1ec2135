"""What a training refuses before it begins, and a training of one process alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ingest_jobs.speech.training.command import main  # noqa: E402
from ingest_jobs.speech.training.peers import Peers, run_together  # noqa: E402

pytestmark = pytest.mark.unit


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "train.jsonl").write_text("")
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["train", *map(str, arguments)]) == 2
    return " ".join(capsys.readouterr().out.split())


def test_training_without_a_corpus_or_a_start_is_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ("--folder", tmp_path / "t")
    assert "holds no corpus: `voxray asr corpus" in refused(capsys, tmp_path, *folder)
    assert "holds no training to start from" in refused(capsys, corpus, *folder, "--start-from", tmp_path)
    assert "leave out --resume" in refused(capsys, corpus, *folder, "--resume")


def test_training_is_not_begun_over_another(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "last.ckpt").write_text("")
    assert "go on with --resume" in refused(capsys, corpus, "--folder", tmp_path / "t")


def test_one_process_alone_agrees_with_itself_and_averages_nothing() -> None:
    weights = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    seen: list[Any] = []

    def work(peers: Peers, argument: str) -> None:
        peers.average([weights])
        seen.append((peers.rank, peers.count, peers.agreed(3.5), argument))

    run_together(1, work, "argument")
    assert seen == [(0, 1, 3.5, "argument")]
    assert weights.tolist() == [1.0, 2.0]
