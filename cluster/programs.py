"""Every module that is started as a separate process (`python -m`).

`cluster` lies below `deployments` and `ingest_jobs` and imports neither, so it starts their programs by name. The names
are defined only here, where a test detects any that matches no module (tests/unit/cluster/test_programs.py).
"""

from __future__ import annotations

import sys
from enum import StrEnum


class Program(StrEnum):
    """A module that can be started as a program."""

    RAY_HEAD = "cluster.lifecycle.ray.ray_head"
    MILVUS_SERVER = "cluster.services.milvus_server"
    LOCAL_GATEWAY = "deployments.gateway.local"
    SPEAK = "deployments.commands.speak"
    PROFILING = "deployments.commands.profiling"
    DRAIN_WATCH = "deployments.commands.drain_watch"
    COMPILE_NEURON = "deployments.commands.compile_neuron"
    REINDEX = "ingest_jobs.knowledge.run.reindex"
    FOLLOW = "ingest_jobs.knowledge.operate.follow"
    ADMIN = "ingest_jobs.knowledge.operate.admin"
    CHECK_DATASET = "ingest_jobs.knowledge.operate.check"
    ANSWER_LOCALLY = "ingest_jobs.measuring.answers.answer_locally"
    RETRIEVAL = "ingest_jobs.measuring.retrieval.command"
    SPEECH_CORPUS = "ingest_jobs.speech.corpus.command"
    SPEECH_TRAINING = "ingest_jobs.speech.training.command"
    SPEECH_EVALUATION = "ingest_jobs.speech.evaluation.command"
    SPEECH_LANGUAGE_MODEL = "ingest_jobs.speech.language_model.command"

    def command(self, *arguments: str, python: str = sys.executable) -> list[str]:
        """Return the command line that starts the program.

        Args:
            arguments: arguments of the program.
            python: interpreter on the machine that runs it.
        """
        return [python, "-m", self.value, *arguments]
