"""Makes the corpus: `python -m ingest_jobs.speech.corpus.command`, which `voxray asr corpus` runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ingest_jobs.speech.corpus.making import VoiceFiles, make_corpus
from ingest_jobs.speech.corpus.plan import Minutes, plan_corpus


def main(arguments: list[str] | None = None) -> int:
    """Plan and synthesize the corpus, and return the exit code."""
    parsed = _parser().parse_args(arguments)
    out = Console()
    files = VoiceFiles(parsed.piper_model, parsed.kokoro_model, parsed.kokoro_voices)
    needed = (parsed.piper_model, parsed.kokoro_model, parsed.kokoro_voices, parsed.vocabulary)
    if missing := ", ".join(str(path) for path in needed if not path.exists()):
        out.print(f"there is no {missing}: `voxray asr corpus` fetches what it names", style="red", markup=False)
        return 2
    minutes = Minutes(parsed.piper_minutes, parsed.kokoro_minutes, parsed.espeak_minutes, parsed.pico_minutes)
    with out.status("drawing the sentences"):
        plan = plan_corpus(minutes, parsed.vocabulary, parsed.seed)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    spoken_s = 0.0
    try:
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("speaking", total=len(plan))

            def show(done: int, seconds: float) -> None:
                nonlocal spoken_s
                spoken_s += seconds
                bar.update(task, completed=done, description=f"speaking, {spoken_s / 3600:.2f} h")

            seconds = make_corpus(plan, files, parsed.folder, processes=parsed.processes, on_progress=show)
    except KeyboardInterrupt:
        out.print("interrupted; the same command resumes from here", style="yellow")
        return 130
    for split, length_s in seconds.items():
        out.print(f"{split:8} {length_s / 3600:6.2f} h  {parsed.folder / f'{split}.jsonl'}", highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="voxray asr corpus", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the corpus is written")
    parser.add_argument("--piper-model", type=Path, required=True)
    parser.add_argument("--kokoro-model", type=Path, required=True)
    parser.add_argument("--kokoro-voices", type=Path, required=True)
    parser.add_argument("--vocabulary", type=Path, required=True, help="word pieces, one a line")
    defaults = Minutes()
    for engine in ("piper", "kokoro", "espeak", "pico"):
        parser.add_argument(f"--{engine}-minutes", type=float, default=getattr(defaults, engine))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    return parser


if __name__ == "__main__":
    sys.exit(main())
