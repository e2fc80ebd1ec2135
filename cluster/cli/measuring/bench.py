"""`voxray bench`: measures, and writes one JSON file and one Markdown table."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cluster.cli.options import FileOption, ProfileOption, config_of
from cluster.config.uses import embedding_model, gateway_engines

if TYPE_CHECKING:
    from cluster.bench.calls import CallPlan
    from cluster.bench.figures import CallFigures, LoadFigures
    from cluster.caller.recording import Recording
    from cluster.config.schema import VoxrayConfig

DEFAULT_CALLS, DEFAULT_LOAD = "1,2,4", "20,60,100,140"
# The settings of a server without a turn model, which answers after half a second of silence.
_FIXED_SILENCE: dict[str, Any] = {
    "type": "realtime",
    "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 500}}},
}


def bench(  # noqa: PLR0917  each is a command-line option, given by name
    out: Annotated[Path, typer.Option(help="Folder for bench.json and bench.md.")] = Path(".voxray/bench"),
    turns: Annotated[int, typer.Option(min=1, help="Number of spoken turns in each run with real engines.")] = 50,
    calls: Annotated[
        str | None, typer.Option(help=f"Numbers of concurrent calls, one run each. [default: {DEFAULT_CALLS}]")
    ] = None,
    load: Annotated[
        str | None,
        typer.Option(
            help=f"Numbers of calls on one gateway core, one run each and without cluster. [default: {DEFAULT_LOAD}]"
        ),
    ] = None,
    load_seconds: Annotated[float, typer.Option(min=2, help="Length of each load run.")] = 25,
    load_recording: Annotated[
        Path | None, typer.Option(help="Question (WAV) for the load runs. Default: the configured voice speaks one.")
    ] = None,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Measure voice-to-voice latency with real engines, and the calls that a gateway core holds with scripted ones.

    With --calls only the latency is measured. With --load only the gateway is measured, without a cluster.
    """
    from cluster.bench.figures import Report
    from cluster.caller.questions import speak_without_cluster
    from cluster.caller.recording import load_recording as read_recording

    config = config_of(profile, file)
    if calls is None and load is None:
        calls, load = DEFAULT_CALLS, DEFAULT_LOAD
    console, report = Console(), Report.begin()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        if calls:
            report.calls = _measure_calls(config, _numbers(calls), turns, progress)
        if load:
            recording = read_recording(load_recording) if load_recording else speak_without_cluster(config)
            report.load = _measure_load(config, recording, _numbers(load), load_seconds, progress)
    _, table = report.write(out)
    console.print(Markdown(report.markdown()))
    console.print(f"written to {table.parent}", highlight=False)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise typer.BadParameter(f"'{text}' is not a list of numbers like 1,2,4")
    return numbers


def _measure_calls(config: VoxrayConfig, calls: list[int], turns: int, progress: Progress) -> list[CallFigures]:
    from cluster.bench.calls import CallPlan, run_calls, sample_questions, spoken_questions
    from cluster.caller.sample_data import SAMPLE_DATA, index_sample_data
    from cluster.cli.call import api_key_of
    from cluster.lifecycle import up

    state, key = up(config, progress.console), api_key_of(config)
    if embedding_model(config):
        index_sample_data(config, state, progress.console.print)
    plans = [CallPlan(f"{number} at once", number, turns) for number in calls]
    plans.append(CallPlan("1, fixed 500 ms silence", 1, max(turns // 2, 1), _FIXED_SILENCE))

    async def run_all() -> list[CallFigures]:
        texts = sample_questions(SAMPLE_DATA / "questions.jsonl")
        recordings = await spoken_questions(state.http_url, texts, key)
        await run_calls(state.ws_url, recordings, CallPlan("warm-up", 1, 3), api_key=key)
        return [await run_one(plan, recordings) for plan in plans]

    async def run_one(plan: CallPlan, recordings: list[Any]) -> CallFigures:
        task = progress.add_task(plan.name, total=plan.turns)
        return await run_calls(state.ws_url, recordings, plan, api_key=key, on_turn=lambda: progress.advance(task))

    return asyncio.run(run_all())


def _measure_load(
    config: VoxrayConfig, recording: Recording, calls: list[int], seconds: float, progress: Progress
) -> list[LoadFigures]:
    """Measure with the gateway on the last core and the callers on the others."""
    import os

    from cluster.bench.gateway_load import gateway_process, measure_load
    from cluster.catalog.catalog import ModelCatalog
    from cluster.config.environment import process_environment

    detector = next(use for use in gateway_engines(config.gateway))
    (vad_model,) = (
        str(ModelCatalog.load(config, process_environment()).fetch(model.name, None)) for model in detector.models
    )
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[:-1]) or {cores[-1]})
    task, results = progress.add_task("calls on one core", total=len(calls)), []
    try:
        for number in calls:
            with gateway_process(vad_model, cores[-1]) as (ws_url, process):
                work = measure_load(ws_url, process, recording, calls=number, seconds=seconds)
                results.append(asyncio.run(work))
            progress.advance(task)
    finally:
        os.sched_setaffinity(0, set(cores))
    return results
