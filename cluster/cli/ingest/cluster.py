"""The running cluster as seen by the ingest commands: the addresses of its stores, and its jobs."""

from __future__ import annotations

import json
import secrets
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from cluster.catalog.catalog import ModelCatalog
from cluster.cli.options import config_of
from cluster.config.agents import agent_of
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import jobs_encoder
from cluster.lifecycle import ClusterState, attach
from cluster.lifecycle.ray.jobs_api import JobsApi, JobState
from cluster.programs import Program
from pipelines.errors import ConfigError

KIND, FOLLOWER = "voxray-ingest", "follow"


@dataclass(frozen=True, slots=True)
class IngestCluster:
    """A running cluster, and the options that tell the jobs' modules the addresses of its services."""

    config: VoxrayConfig
    state: ClusterState
    model_dir: Path

    @property
    def tenant(self) -> str:
        """The default agent's tenant, for commands that are given none."""
        return agent_of(self.config).tenant

    def store_arguments(self, tenant: str | None) -> list[str]:
        """Return the options that every module of the jobs takes."""
        services = self.config.services
        arguments = ["--milvus", self.state.milvus_uri, "--alias", services.milvus.alias]
        arguments += ["--tenant", tenant or self.tenant, "--model-dir", str(self.model_dir)]
        arguments += ["--objects", self.state.objects_url, "--redis", self.state.redis_url]
        if self.config.knowledge.bulk_url:
            arguments += ["--bulk", self.config.knowledge.bulk_url]
        if services.milvus.token_env:
            arguments += ["--token-env", services.milvus.token_env]
        if services.redis.password_env:
            arguments += ["--redis-password-env", services.redis.password_env]
        return arguments

    def jobs(self) -> JobsApi:
        """Open a client of the cluster's jobs."""
        return JobsApi(self.state.dashboard_url, self.state.token())

    def submit(self, program: Program, arguments: list[str], *, name: str, tenant: str | None) -> str:
        """Start a program as a Ray job and return its id."""
        job = f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        command = program.command(*arguments, *self.store_arguments(tenant))
        if name == "ingest":
            command += ["--job", job, "--progress", "json"]
        variables = {"PYTHONPATH": self.state.ray_environment()["PYTHONPATH"]}
        metadata = {"kind": KIND, "name": name, "tenant": tenant or self.tenant}
        with self.jobs() as jobs:
            jobs.submit(job, shlex.join(command), variables, metadata)
        return job

    def follower(self) -> JobState | None:
        """Return the running job that applies live updates, or None."""
        with self.jobs() as jobs:
            mine = (state for state in jobs.all() if is_follower(state) and not state.has_ended)
            return next(mine, None)

    def ensure_follower(self) -> tuple[str, bool]:
        """Ensure that a job applies live updates. Returns its id, and whether it was just started."""
        if running := self.follower():
            return running.job, False
        return self.submit(Program.FOLLOW, [], name=FOLLOWER, tenant=None), True

    def ask(self, action: str, arguments: list[str], tenant: str | None) -> dict[str, Any]:
        """Run an administrative action here and return its answer. If it fails, this command ends with its code."""
        command = Program.ADMIN.command(action, *arguments, *self.store_arguments(tenant))
        ended = subprocess.run(command, env=self.environment(), stdout=subprocess.PIPE, text=True, check=False)
        if ended.returncode:
            raise typer.Exit(ended.returncode)
        answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return answer

    def environment(self) -> dict[str, str]:
        """Return the environment that lets a module of the jobs join the cluster."""
        return {**process_environment(), **self.state.ray_environment()}


def check_dataset(source: Path) -> None:
    """Check a dataset's description before anything is started for it. If it is wrong, say why and end the command."""
    command = Program.CHECK_DATASET.command(str(source.resolve()))
    checked = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if checked.returncode:
        raise ConfigError(checked.stderr.strip())


def is_follower(state: JobState) -> bool:
    """Return whether a job applies live updates rather than indexing a dataset."""
    return (state.metadata.get("kind"), state.metadata.get("name")) == (KIND, FOLLOWER)


def open_cluster(profile: str | None, file: Path | None) -> IngestCluster:
    """Find the running cluster.

    Raises:
        ConfigError: the cluster is not running, or the configuration is wrong.
    """
    environment = process_environment()
    config = config_of(profile, file)
    if (state := attach(config)) is None:
        raise ConfigError("the cluster is not running: `voxray up` starts it")
    model_dir = ModelCatalog.load(config, environment).fetch(jobs_encoder(config))
    return IngestCluster(config, state, model_dir)
