"""Getting the sample company's documents into the vector store, by the same Ray Data job as a data team's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cluster.catalog.catalog import ModelCatalog
from cluster.config.agents import agent_of
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import embedding_model
from cluster.lifecycle import ClusterState
from pipelines.errors import VoxrayError

SAMPLE_DATA = Path(__file__).resolve().parents[2] / "ingest_jobs" / "sample_data"


class IngestError(VoxrayError):
    """The ingest job failed."""


def index_sample_data(config: VoxrayConfig, state: ClusterState, say: Callable[[str], None]) -> None:
    """Run the reindex job on the running cluster, a line of progress at a time.

    Raises:
        IngestError: the job failed; its last lines are in the message.
    """
    environment = process_environment()
    model_dir = ModelCatalog.load(config, environment).path(embedding_model(config))
    command = [sys.executable, "-m", "ingest_jobs.knowledge.run.reindex"]
    command += ["--source", str(SAMPLE_DATA), "--milvus", state.milvus_uri, "--model-dir", str(model_dir)]
    command += ["--objects", state.objects_url, "--redis", state.redis_url]
    command += ["--alias", config.services.milvus.alias, "--tenant", agent_of(config).tenant]
    if config.services.milvus.token_env:
        command += ["--token-env", config.services.milvus.token_env]
    if config.services.redis.password_env:
        command += ["--redis-password-env", config.services.redis.password_env]
    with subprocess.Popen(
        command,
        env={**environment, **state.ray_environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        for line in job.stdout:
            say(line.rstrip())
        errors = job.stderr.read()
    if job.returncode:
        raise IngestError(f"the ingest job ended with {job.returncode}:\n" + "\n".join(errors.splitlines()[-5:]))
