"""Indexes the sample company's documents with the same Ray Data job that a data team would use."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cluster.catalog.catalog import ModelCatalog
from cluster.config.agents import agent_of
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import embedding_model
from cluster.lifecycle import ClusterState
from cluster.programs import Program
from pipelines.errors import VoxrayError

SAMPLE_DATA = Path(__file__).resolve().parents[2] / "ingest_jobs" / "sample_data"


class IngestError(VoxrayError):
    """The ingest job failed."""


@dataclass(frozen=True, slots=True)
class SampleIndexing:
    """A running reindex job."""

    process: subprocess.Popen[bytes]
    output: IO[str]
    errors: IO[str]

    def finish(self, say: Callable[[str], None]) -> None:
        """Wait for the job to end, and return its lines of progress.

        Raises:
            IngestError: the job failed; its last lines are in the message.
        """
        code = self.process.wait()
        for line in _lines_of(self.output):
            say(line)
        if code:
            raise IngestError(f"the ingest job ended with {code}:\n" + "\n".join(_lines_of(self.errors)[-5:]))


@contextmanager
def indexing(config: VoxrayConfig, state: ClusterState) -> Iterator[SampleIndexing]:
    """Run the reindex job in a separate process during the block. If it is still running then, it is ended.

    Args:
        config: the configuration, whose embedding model must be on this machine.
        state: the cluster's addresses. Services and Ray head must be running; the application need not be.
    """
    environment = {**process_environment(), **state.ray_environment()}
    # Output goes to files rather than pipes, because nobody reads it while the cluster comes up.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        job = subprocess.Popen(_command(config, state), env=environment, stdout=output, stderr=errors)
        try:
            yield SampleIndexing(job, output, errors)
        finally:
            if job.poll() is None:
                job.terminate()
            job.wait()


def index_sample_data(config: VoxrayConfig, state: ClusterState, say: Callable[[str], None]) -> None:
    """Run the reindex job to its end. It ends at once when the data is unchanged.

    Raises:
        IngestError: the job failed; its last lines are in the message.
    """
    with indexing(config, state) as job:
        job.finish(say)


def _command(config: VoxrayConfig, state: ClusterState) -> list[str]:
    model_dir = ModelCatalog.load(config, process_environment()).path(embedding_model(config))
    command = Program.REINDEX.command()
    command += ["--source", str(SAMPLE_DATA), "--milvus", state.milvus_uri, "--model-dir", str(model_dir)]
    command += ["--objects", state.objects_url, "--redis", state.redis_url]
    command += ["--alias", config.services.milvus.alias, "--tenant", agent_of(config).tenant]
    if config.services.milvus.token_env:
        command += ["--token-env", config.services.milvus.token_env]
    if config.services.redis.password_env:
        command += ["--redis-password-env", config.services.redis.password_env]
    return command


def _lines_of(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()
