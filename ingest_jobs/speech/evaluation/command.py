"""Measures recognisers on a NeMo manifest. `voxray asr eval` runs `python -m ingest_jobs.speech.evaluation.command`.

Exit codes: 0 measured, 1 too many broken lines or recordings that failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import rich.box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ingest_jobs.speech.evaluation.chart import PlotsMissing, conditions, plot
from ingest_jobs.speech.evaluation.engines import EngineChoice
from ingest_jobs.speech.evaluation.measuring import Report, Spread, load_recordings, measure
from ingest_jobs.speech.evaluation.recordings import BrokenLine, read_manifest
from pipelines.errors import EngineError

_SHOWN_BROKEN = 10


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the results, and return the exit code."""
    parsed = _parser().parse_args(arguments)
    out, errors = Console(), Console(stderr=True)
    choices = _choices(parsed)
    if not choices:
        errors.print("name an engine: --nemo FILE.nemo, --whisper FOLDER, or both", style="red")
        return 2
    try:
        recordings, broken = read_manifest(parsed.manifest)
    except (OSError, UnicodeDecodeError) as error:
        errors.print(f"the manifest cannot be read: {error}", style="red", markup=False)
        return 2
    loaded, unreadable = load_recordings(recordings[: parsed.limit or None])
    broken = sorted([*broken, *unreadable], key=lambda each: each.line)
    _show_broken(broken, errors)
    if not loaded:
        errors.print("no usable recording is left", style="red")
        return 1
    try:
        reports = [asyncio.run(_measured(choice, loaded, parsed.live, errors)) for choice in choices]
    except KeyboardInterrupt:
        return 130
    except EngineError as error:
        errors.print(str(error), style="red", markup=False)
        return 1
    _print(reports, out)
    _write(reports, broken, parsed.out, errors)
    lost = len(broken) + max(report.failures for report in reports)
    if lost > parsed.max_broken * (len(loaded) + len(broken)):
        errors.print(f"{lost} recordings could not be used, more than {parsed.max_broken:.0%}", style="red")
        return 1
    return 0


async def _measured(choice: EngineChoice, loaded: list, live: int, errors: Console) -> Report:  # type: ignore[type-arg]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(choice.label, total=len(loaded) + min(live, len(loaded)))
        return await measure(choice, loaded, min(live, len(loaded)), lambda: bar.advance(task))


def _choices(parsed: argparse.Namespace) -> list[EngineChoice]:
    chosen = []
    if parsed.nemo is not None:
        from deployments.engines.nemo.ngrams import language_model_of

        for chunk_ms in parsed.chunk_ms or [160]:
            choice = EngineChoice("nemo", parsed.nemo, chunk_ms, parsed.threads, parsed.streams)
            models = [language_model_of(each, parsed.nemo) for each in parsed.language_model or ["auto"]]
            chosen += [replace(choice, language_model=each) for each in dict.fromkeys(models)]
    if parsed.whisper is not None:
        chosen.append(
            EngineChoice("whisper", parsed.whisper, parsed.partial_ms, parsed.threads, parsed.streams, parsed.prompt)
        )
    return chosen


def _show_broken(broken: Sequence[BrokenLine], errors: Console) -> None:
    for each in broken[:_SHOWN_BROKEN]:
        errors.print(f"line {each.line}: {each.reason}", style="yellow", markup=False, highlight=False)
    if len(broken) > _SHOWN_BROKEN:
        errors.print(f"and {len(broken) - _SHOWN_BROKEN} broken lines more, all in the report", style="yellow")


def _print(reports: Sequence[Report], out: Console) -> None:
    names = list(dict.fromkeys(name for report in reports for name in conditions(report)))
    table = Table(box=rich.box.SIMPLE_HEAD)
    table.add_column("WER, 95% interval")
    for report in reports:
        table.add_column(report.engine, justify="right")
    for name in names:
        rates = [conditions(report).get(name) for report in reports]
        table.add_row(name, *(f"{r.value:.1%} ({r.low:.1%} to {r.high:.1%})" if r is not None else "-" for r in rates))
    table.add_section()
    for title, spreads in (
        ("final text after the end, ms", [report.final_ms for report in reports]),
        ("partial behind its audio, ms", [report.partial_lag_ms for report in reports]),
        ("first word after the start, ms", [report.first_word_ms for report in reports]),
    ):
        table.add_row(title, *(_ms(spread) for spread in spreads))
    table.add_row("CPU seconds for a second of audio", *(f"{report.cpu_s_per_audio_s:.4f}" for report in reports))
    live = [report.live_cpu_s_per_audio_s for report in reports]
    table.add_row("the same, one live call alone", *("-" if each is None else f"{each:.4f}" for each in live))
    table.add_row("audio seconds in a CPU second", *(f"{report.streams_per_core:.0f}" for report in reports))
    out.print(table)


def _ms(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.p50:.0f}, p95 {spread.p95:.0f}"


def _write(reports: Sequence[Report], broken: Sequence[BrokenLine], folder: Path, errors: Console) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "engines": [report.as_json() for report in reports],
        "broken_lines": [{"line": each.line, "reason": each.reason} for each in broken],
    }
    (folder / "asr-eval.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    try:
        plot(reports, folder / "asr-eval.svg")
    except PlotsMissing as error:
        errors.print(str(error), style="yellow")
    errors.print(f"written to {folder}: asr-eval.json, asr-eval.svg", highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="voxray asr eval", description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--nemo", type=Path, help="a .nemo file of a cache-aware model")
    parser.add_argument("--chunk-ms", type=int, action="append", help="of the NeMo model; may be given again")
    parser.add_argument(
        "--language-model", action="append", help="of the NeMo model: auto, none or a file; may be given again"
    )
    parser.add_argument("--whisper", type=Path, help="folder of a Whisper model for CTranslate2")
    parser.add_argument("--partial-ms", type=int, default=700, help="audio between two partials of Whisper")
    parser.add_argument("--prompt", default="", help="words that Whisper is told to expect")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--streams", type=int, default=16, help="recordings at once")
    parser.add_argument("--live", type=int, default=20, help="recordings heard at the pace of speech, for latency")
    parser.add_argument("--limit", type=int, default=0, help="only the first recordings")
    parser.add_argument("--max-broken", type=float, default=0.02, help="share of unusable lines that is still good")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of asr-eval.json and asr-eval.svg")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Skip the interpreter's shutdown, at which libraries under NeMo report hundreds of leaked objects.
    os._exit(code)
