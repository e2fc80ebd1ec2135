"""`voxray profile`: measures an engine on this machine, for `voxray plan` to use."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.box
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cluster.cli.options import FileOption, ProfileOption, config_of
from cluster.config.uses import model_uses
from cluster.programs import Program
from pipelines.errors import Component, ConfigError, EngineError

if TYPE_CHECKING:
    from cluster.config.schema import VoxrayConfig

STAGES = ("transcriber", "retriever", "language_model", "synthesizer")
# The folder in which `voxray plan --profiles` finds profiles.
PROFILES_FOLDER = Path(".voxray/profiles")


def profile_command(
    engine: Annotated[str, typer.Argument(help="A stage (transcriber, retriever, language_model, synthesizer), "
                                               "or the model configured for a stage.")],
    seconds: Annotated[float, typer.Option(min=1, help="Length of the measurement at each load.")] = 10,
    out: Annotated[Path, typer.Option(help="Folder for the profile (JSON).")] = PROFILES_FOLDER,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:  # fmt: skip
    """Measure the memory of an engine and its latency under load, and write its profile for `voxray plan`."""
    from cluster.caller.questions import speak_without_cluster
    from cluster.preflight.packages import require_engine_packages
    from pipelines.audio.pcm import PCM_24K
    from pipelines.audio.wav import write_wav

    config = config_of(profile, file)
    stage = stage_of(engine, config)
    if stage == Component.TRANSCRIBER:
        require_engine_packages(config)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "question.wav"
        request = {
            "part": _part(stage, config),
            "recording": str(recording),
            "seconds": seconds,
            "max_tokens": config.answering.max_tokens,
            "partial_interval_ms": config.hearing.partial_interval_ms,
        }
        if stage == Component.TRANSCRIBER:
            recording.write_bytes(write_wav(speak_without_cluster(config).pcm_24k, PCM_24K.rate_hz))
        found = _measured(request, Path(folder), console)
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{found['engine']}.{found['device']}.json"
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    _print(found, console)
    console.print(f"written to {target}; plan with it: voxray plan --profiles {out}", highlight=False, soft_wrap=True)


def stage_of(engine: str, config: VoxrayConfig) -> str:
    """Return the stage that an operator names by stage or model.

    Raises:
        ConfigError: no stage has this name or model, or the stage is scripted.
    """
    models = stage_models(config)
    if engine == "gateway":
        raise ConfigError("the gateway is measured by `voxray bench --load 20,60,100,140`")
    stage = next((name for name in STAGES if engine in (name, models.get(name))), None)
    if stage is None:
        known = ", ".join([*STAGES, *models.values()])
        raise ConfigError(f"'{engine}' is neither a stage nor a configured model; known: {known}")
    if stage not in models:
        raise ConfigError(f"{stage} is scripted in this configuration, so there is no engine to measure")
    return stage


def stage_models(config: VoxrayConfig) -> dict[str, str]:
    """Return the model of the first pool in each stage's route. A scripted stage has none."""
    models: dict[str, str] = {}
    for path, model in model_uses(config):
        if path[0] == "pools" and path[2] == config.routes.of(Component(path[1]))[0]:
            models.setdefault(path[1], model.name)
    return models


def _part(stage: str, config: VoxrayConfig) -> dict[str, Any]:
    from cluster.catalog.pool_parts import fetched_part
    from cluster.cli.models import shown_progress

    with shown_progress() as progress:
        return fetched_part(config, Component(stage), progress).model_dump(mode="json")


def _measured(request: dict[str, Any], folder: Path, console: Console) -> dict[str, Any]:
    """Run the measuring process, show its progress, and return the profile."""
    file = folder / "request.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    log = folder / "log.txt"
    found: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with log.open("wb") as errors, Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{request['part']['component']}: loading", total=None)
        command = Program.PROFILING.command(str(file))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as child:
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    if not line.startswith("{"):
                        continue
                    said = json.loads(line)
                    found = said.get("profile", found)
                    if "step" in said:
                        progress.update(task, description=said["what"], completed=said["step"], total=said["of"])
                code = child.wait()
            finally:
                child.kill()
    if code:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-6:])
        raise EngineError(
            request["part"]["component"], f"the measurement ended with code {code}:\n{last}", retryable=False
        )
    return found


def _print(found: dict[str, Any], console: Console) -> None:
    memory_gib = found["memory_bytes"] / 2**30
    title = f"{found['engine']} on {found['device']}: {memory_gib:.2f} GiB, ready after {found['start_s']:.0f} s"
    console.print(title, highlight=False, style="bold")
    table = Table(box=rich.box.SIMPLE_HEAD)
    for name in ("requests/s", "p50 ms", "p95 ms", "calls"):
        table.add_column(name, justify="right")
    for point in found["points"]:
        calls = point["requests_s"] / found["requests_per_call_s"]
        table.add_row(f"{point['requests_s']:g}", f"{point['p50_ms']:g}", f"{point['p95_ms']:g}", f"{calls:.0f}")
    console.print(table)
