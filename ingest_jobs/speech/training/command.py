"""Trains and exports. `voxray asr train` and `export` run `python -m ingest_jobs.speech.training.command`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ingest_jobs.speech.training.model import ModelSize
from ingest_jobs.speech.training.peers import Peers, run_together

MAX_EXPORT_BYTES = 30_000_000
_LOGGED_STEPS = 20


def train(parsed: argparse.Namespace, out: Console) -> int:
    """Train until the budget is spent, then export."""
    for corpus in parsed.corpora:
        if not (corpus / "train.jsonl").is_file():
            out.print(f"{corpus} holds no corpus: `voxray asr corpus {corpus}` makes one", style="red")
            return 2
    if parsed.start_from and not (parsed.start_from / "last.ckpt").is_file():
        out.print(f"{parsed.start_from} holds no training to start from", style="red")
        return 2
    if not parsed.resume and (parsed.folder / "last.ckpt").exists():
        out.print(f"{parsed.folder} holds a training: go on with --resume, or name another folder", style="red")
        return 2
    if parsed.resume and not (parsed.folder / "last.ckpt").exists():
        out.print(f"{parsed.folder} holds no checkpoint to go on from: leave out --resume", style="red")
        return 2
    try:
        if not parsed.resume:
            _begin(parsed)
        run_together(parsed.processes, _train_in_process, parsed)
    except KeyboardInterrupt:
        has_checkpoint = (parsed.folder / "last.ckpt").exists()
        how = "--resume goes on from the last checkpoint" if has_checkpoint else "run the same command again"
        out.print(f"interrupted; {how}", style="yellow")
        return 130
    return export(parsed, out)


def _begin(parsed: argparse.Namespace) -> None:
    """Put the start of the training into the folder: another training's word pieces, or the first words."""
    if parsed.start_from:
        shutil.copytree(parsed.start_from / "tokenizer", parsed.folder / "tokenizer", dirs_exist_ok=True)
    else:
        _first_words(parsed)


def _first_words(parsed: argparse.Namespace) -> None:
    """Learn the first words in this process alone and store them in the folder, unless they are there."""
    path = _first_words_file(parsed)
    if path.exists() or parsed.first_updates == 0:
        return
    import torch

    from ingest_jobs.speech.training.first_words import learn_first_words

    parsed.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    out = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as bar:
        task = bar.add_task("first words", total=parsed.first_updates)

        def show(update: int, loss: float) -> None:
            bar.update(task, completed=update, description=f"first words, loss {loss:.2f}")
            if not out.is_terminal and update % _LOGGED_STEPS == 0:
                out.print(f"first words, update {update}, loss {loss:.2f}", highlight=False)

        size = ModelSize(width=parsed.width, layers=parsed.layers)
        learned = learn_first_words(
            parsed.corpora[0], parsed.folder, size, updates=parsed.first_updates, on_update=show
        )
    part = path.with_suffix(".part")
    torch.save(learned, part)
    part.replace(path)


def _first_weights(parsed: argparse.Namespace) -> dict[str, Any] | None:
    """Return the initial weights, or None for random ones."""
    import torch

    from ingest_jobs.speech.training.training import hearing_weights

    if parsed.start_from:
        return hearing_weights(parsed.start_from)
    path = _first_words_file(parsed)
    return torch.load(path, weights_only=True) if path.exists() else None


def _first_words_file(parsed: argparse.Namespace) -> Path:
    path: Path = parsed.folder / "first-words.pt"
    return path


def _train_in_process(peers: Peers, parsed: argparse.Namespace) -> None:
    """Train as one of the processes, of which the first shows the progress."""
    from ingest_jobs.speech.training.training import Trainer, TrainingPlan

    plan = TrainingPlan(
        parsed.minutes, parsed.peak_rate, batch_seconds=parsed.batch_seconds, is_bfloat16=parsed.bfloat16,
        processes=parsed.processes,
    )  # fmt: skip
    size = ModelSize(width=parsed.width, layers=parsed.layers)
    out = Console(stderr=True, quiet=peers.rank != 0)
    with out.status("building the model (NeMo takes a moment)"):
        weights = None if parsed.resume else _first_weights(parsed)
        trainer = Trainer(parsed.corpora, parsed.folder, plan, size, resume=parsed.resume, peers=peers, weights=weights)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as bar:
        task = bar.add_task("training", total=1.0)

        def show(step: int, spent: float, loss: float) -> None:
            said = f"step {step}, loss {loss:.2f}"
            bar.update(task, completed=spent, description=said)
            if not out.is_terminal and step % _LOGGED_STEPS == 0:
                out.print(f"{said}, blanks {trainer.blanks:.2f}", highlight=False)

        last = trainer.run(show)
    if last is not None:
        out.print(f"dev WER {last.wer_clean}% clean, {last.wer_distorted}% distorted", highlight=False)


def export(parsed: argparse.Namespace, out: Console) -> int:
    """Write the averaged weights as a .nemo file."""
    from ingest_jobs.speech.training.training import load_averaged

    target: Path = parsed.out or parsed.folder / "model.nemo"
    target.parent.mkdir(parents=True, exist_ok=True)
    load_averaged(parsed.folder).save_to(str(target))
    size = target.stat().st_size
    out.print(f"{target}: {size / 1e6:.1f} MB", highlight=False)
    return 0 if size <= MAX_EXPORT_BYTES else 1


def main(arguments: list[str] | None = None) -> int:
    """Run one of the two commands and return the exit code."""
    parsed = _parser().parse_args(arguments)
    return int(parsed.run(parsed, Console()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="voxray asr", description=__doc__)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train")
    training.set_defaults(run=train)
    training.add_argument("corpora", type=Path, nargs="+", metavar="corpus", help="dev.jsonl is that of the first")
    training.add_argument("--start-from", type=Path, help="folder of a training: begin with its weights, as long anew")
    training.add_argument("--minutes", type=float, default=90)
    training.add_argument("--resume", action="store_true")
    training.add_argument("--first-updates", type=int, default=600, help="of the stage that learns the first words")
    training.add_argument("--peak-rate", type=float, default=1e-3)
    training.add_argument("--batch-seconds", type=float, default=20)
    training.add_argument("--processes", type=int, default=2, help="that share each step, one thread each")
    training.add_argument("--bfloat16", action="store_true", help="faster where the processor can")
    training.add_argument("--width", type=int, default=144)
    training.add_argument("--layers", type=int, default=8)
    exporting = commands.add_parser("export")
    exporting.set_defaults(run=export)
    for each in (training, exporting):
        each.add_argument("--folder", type=Path, required=True, help="of the training")
        each.add_argument("--out", type=Path, help="the .nemo; default: model.nemo in the folder")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Skip the interpreter's shutdown, at which libraries under NeMo report hundreds of leaked objects.
    os._exit(code)
