"""`voxray ingest`: put a folder of business data into the running cluster's vector store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster.catalog.catalog import ModelCatalog
from cluster.config.environment import process_environment
from cluster.config.loading import load_config
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle import ClusterState, attach
from pipelines.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Index business data for the calls."
)

SourceArgument = Annotated[Path, typer.Argument(help="Folder of Markdown, HTML, CSV and JSON Lines files.")]
TenantOption = Annotated[str | None, typer.Option(help="Whose data it is; default: the agent's tenant.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Index even when nothing has changed.")]
ProfileOption = Annotated[str | None, typer.Option(help="Profile: embedded, nvidia, inferentia or scripted.")]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="Settings file; otherwise VOXRAY_CONFIG or voxray.yaml.")
]


@app.callback()
def ingest() -> None:
    """Index business data for the calls."""


@app.command()
def run(
    source: SourceArgument,
    tenant: TenantOption = None,
    force: ForceOption = False,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Reindex a folder beside the calls: the live collection answers until the new one is complete."""
    environment = process_environment()
    config = load_config(profile, file, environment)
    if (state := attach(config)) is None:
        raise ConfigError("the cluster is not running: `voxray up` starts it")
    command = job_command(config, state, source, tenant=tenant or config.agent.tenant, is_forced=force)
    ended = subprocess.run(command, env={**environment, **state.ray_environment()}, check=False)
    raise typer.Exit(ended.returncode)


def job_command(
    config: VoxrayConfig, state: ClusterState, source: Path, *, tenant: str, is_forced: bool = False
) -> list[str]:
    """Return the command line of the reindex job on the running cluster."""
    milvus = config.services.milvus
    model_dir = ModelCatalog.load(config, process_environment()).fetch(config.retriever.embedding_model)
    command = [sys.executable, "-m", "ingest_jobs.reindex", "--source", str(source.resolve())]
    command += ["--milvus", state.milvus_uri, "--alias", milvus.alias, "--tenant", tenant]
    command += ["--model-dir", str(model_dir), "--token-env", milvus.token_env]
    return [*command, "--force"] if is_forced else command
