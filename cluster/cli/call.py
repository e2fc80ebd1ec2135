"""`voxray call`: place one spoken call and show it as it happens."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cluster.caller.questions import QUESTION
from cluster.cli.options import FileOption, ProfileOption, config_of
from cluster.config.uses import embedding_model

if TYPE_CHECKING:
    from cluster.caller.line import TurnResult
    from cluster.caller.recording import Recording
    from cluster.caller.sample_data import SampleIndexing
    from cluster.config.schema import VoxrayConfig
    from cluster.lifecycle import ClusterState

DEFAULT_ANSWER_FILE = Path("answer.wav")


def call(
    wav: Annotated[Path | None, typer.Option(help="A recorded question (16-bit WAV, any rate).")] = None,
    question: Annotated[str, typer.Option(help="Words to speak when no recording is given.")] = QUESTION,
    out: Annotated[Path, typer.Option(help="File in which the spoken answer is saved.")] = DEFAULT_ANSWER_FILE,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Start the cluster if needed, index the sample data, ask one spoken question, and save the answer."""
    from cluster.caller.recording import load_recording

    console = Console()
    config = config_of(profile, file)
    # checked before anything is started, since the file may be unusable
    recording = load_recording(wav) if wav is not None else None
    state = _up_with_sample_data(config, console)
    if recording is None:
        console.print(f"\n[bold]asking[/]      {question}", highlight=False)
        recording = asyncio.run(_spoken(state, config, question))
    result = asyncio.run(_held_call(state, config, recording, console))
    _save(result, out, console)


def _up_with_sample_data(config: VoxrayConfig, console: Console) -> ClusterState:
    """Bring the cluster up while indexing the sample company's documents."""
    from cluster.caller.sample_data import indexing
    from cluster.cli.models import shown_progress
    from cluster.lifecycle import up

    def start(state: ClusterState) -> None:
        if embedding_model(config):
            jobs.append(opened.enter_context(indexing(config, state)))

    jobs: list[SampleIndexing] = []
    with ExitStack() as opened:
        with shown_progress() as progress:
            state = up(config, console, progress=progress, before_deploy=start)
        for job in jobs:
            job.finish(lambda line: console.print(f"  [dim]{line}[/]", highlight=False))
    return state


async def _spoken(state: ClusterState, config: VoxrayConfig, question: str) -> Recording:
    """Synthesize the question with the cluster's own voice."""
    from cluster.caller.questions import speak_question

    return await speak_question(state.http_url, question, api_key_of(config))


async def _held_call(state: ClusterState, config: VoxrayConfig, recording: Recording, console: Console) -> TurnResult:
    from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

    from cluster.caller.line import LineLost, open_line
    from cluster.caller.screen import CallScreen

    # A call may be cut while the ingress moves to newly deployed replicas, so call again as clients do.
    async for attempt in AsyncRetrying(
        stop=stop_after_attempt(3), retry=retry_if_exception_type(LineLost), reraise=True
    ):
        with attempt, CallScreen(console) as screen:
            async with open_line(state.ws_url, api_key=api_key_of(config), on_event=screen.show) as line:
                result = await line.ask(recording)
            screen.conclude(result)
    return result


def api_key_of(config: VoxrayConfig) -> str:
    """Return the key that the gateway requires, from the variable named in the configuration."""
    from cluster.config.environment import process_environment, secret

    return secret(process_environment(), config.gateway.api_key_env, needed_by="gateway.api_key_env")


def _save(result: TurnResult, out: Path, console: Console) -> None:
    from pipelines.audio.pcm import PCM_24K
    from pipelines.audio.wav import write_wav

    pcm = bytes(result.playout.pcm_24k)
    if result.status != "completed" or not pcm:
        console.print(f"[red]no spoken answer came (the response ended as '{result.status}')[/]")
        raise typer.Exit(1)
    out.write_bytes(write_wav(pcm, PCM_24K.rate_hz))
    console.print(f"\nsaved       {out} ({PCM_24K.seconds_of(len(pcm)):.1f} s)", highlight=False)
