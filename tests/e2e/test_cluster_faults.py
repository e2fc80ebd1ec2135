"""What a running cluster survives, and what it weighs."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import httpx
import psutil
import pytest

from cluster.caller.line import open_line
from cluster.caller.questions import speak_question
from cluster.lifecycle import up
from cluster.lifecycle.status import look
from tests.e2e.conftest import Embedded

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MAX_PSS_BYTES = 9 * 2**30
QUESTION = "How much is regular shipping?"


def replica_pid(deployment: str, run_folder: str) -> int:
    """The pid of a deployment's replica of this test's cluster."""
    for process in psutil.process_iter(["cmdline", "name"]):
        title = " ".join(process.info["cmdline"] or [])
        # The title is ServeReplica:APPLICATION:DEPLOYMENT; every pool has an application of its own.
        if title.startswith("ray::ServeReplica:") and f":{deployment}" in title and run_folder in _marker_of(process):
            return process.pid
    raise AssertionError(f"no replica of {deployment}")


def _marker_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.environ().values())
    except psutil.Error:
        return ""


def test_cluster_fits_into_nine_gigabytes(embedded: Embedded) -> None:
    found = look(embedded.config)
    assert found.exit_code == 0
    assert found.total_pss_bytes < MAX_PSS_BYTES


def test_replicas_see_only_the_packages_that_a_call_needs(embedded: Embedded) -> None:
    replica = psutil.Process(replica_pid("LanguageModel", str(embedded.state.state_folder)))
    question = "from importlib.util import find_spec; print([n for n in ('vllm', 'triton', 'nemo') if find_spec(n)])"
    answer = subprocess.run([sys.executable, "-c", question], env=replica.environ(), capture_output=True, check=True)
    assert answer.stdout.decode().strip() == "['vllm']"


def test_second_up_changes_nothing(embedded: Embedded) -> None:
    assert up(embedded.config) == embedded.state


async def test_call_goes_on_after_the_recogniser_was_killed(embedded: Embedded) -> None:
    recording = await speak_question(embedded.state.http_url, QUESTION)
    async with open_line(embedded.state.ws_url) as line:
        before = await line.ask(recording)
        psutil.Process(replica_pid("Transcriber", str(embedded.state.state_folder))).kill()
        for _ in range(20):
            after = await line.ask(recording)
            if after.status == "completed" and after.answer:
                break
            await asyncio.sleep(1)
    # The wording may differ (under load the passage's own sentence is spoken); the fact may not.
    assert "6.95" in before.answer
    assert "6.95" in after.answer


async def test_questions_are_answered_again_after_the_voice_was_killed(embedded: Embedded) -> None:
    psutil.Process(replica_pid("Synthesizer", str(embedded.state.state_folder))).kill()
    async with httpx.AsyncClient(timeout=60) as client:
        for _ in range(60):
            response = await client.post(f"{embedded.state.http_url}/v1/audio/speech", json={"input": "Hello."})
            if response.status_code == 200:
                break
            assert response.status_code == 503
            assert response.headers["Retry-After"]
            await asyncio.sleep(1)
    assert response.status_code == 200
