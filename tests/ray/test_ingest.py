"""The ingest job as a data team runs it: a process of its own, Ray Data, a real Milvus, and workers that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cluster.config.environment import process_environment
from tests.contract.ingest.workshop import Workshop
from tests.contract.milvus_server import milvus_server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = 1500
ENOUGH_ROWS = 100
KILL_WAIT_S = 120


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    root = tmp_path_factory.mktemp("ingest")
    with milvus_server(root / "milvus") as uri:
        yield Workshop(root, uri, "knowledge")


@contextmanager
def job_process(workshop: Workshop, *more: str) -> Iterator[subprocess.Popen[str]]:
    """Run the job, on a Ray of its own unless told otherwise; whatever is left of it is ended."""
    source = workshop.request().source
    command = [
        sys.executable,
        "-m",
        "ingest_jobs.knowledge.run.reindex",
        "--source",
        str(source),
        "--milvus",
        workshop.uri,
    ]
    command += ["--alias", workshop.alias, "--model-dir", str(workshop.root), "--objects", str(workshop.objects), *more]
    environment = {**process_environment(), "RAY_ADDRESS": "local"}
    job = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )  # fmt: skip
    try:
        yield job
    finally:
        left = psutil.Process(job.pid).children(recursive=True) if job.poll() is None else []
        job.kill()
        for process in left:
            if process.is_running():
                process.kill()
        job.wait()


def workers(job: subprocess.Popen[str], name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(job.pid).children(recursive=True):
        try:
            if name in process.cmdline()[0]:
                found.append(process)
        except (psutil.Error, IndexError):
            continue
    return found


def rows_being_built(workshop: Workshop) -> int:
    store = workshop.store()
    try:
        names = list(store.unfinished())
        return store.rows.count(names[0], workshop.tenant) if names else 0
    finally:
        store.close()


def wait_for_rows(workshop: Workshop, job: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + KILL_WAIT_S
    while rows_being_built(workshop) < ENOUGH_ROWS:
        assert job.poll() is None, job.stdout.read() if job.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_job_with_killed_workers_makes_the_collection_of_an_undisturbed_run(workshop: Workshop) -> None:
    workshop.write_notes(DOCUMENTS)
    workshop.write("bad.jsonl", "{oops\n")
    with job_process(workshop) as job:
        wait_for_rows(workshop, job)
        killed = [w for stage in ("EmbedActor", "WriteActor") for w in workers(job, stage)]
        for process in killed:
            os.kill(process.pid, signal.SIGKILL)
        said, _ = job.communicate(timeout=200)
    assert len(killed) == 2
    assert job.returncode == 0, said
    other = Workshop(workshop.root, workshop.uri, "plain")
    other.run(objects_url="")
    assert workshop.rows() == other.rows()
    reports = [json.loads(path.read_text()) for path in (workshop.objects / "ingest" / "reports").rglob("*.json")]
    assert [(r["state"], r["mode"], r["documents"], r["refused"]) for r in reports] == [("done", "full", DOCUMENTS, 1)]
    assert reports[0]["chunks"] == 2 * DOCUMENTS


def test_failed_job_says_what_is_wrong_and_leaves_no_collection(workshop: Workshop, tmp_path: Path) -> None:
    own = Workshop(tmp_path, workshop.uri, "failing")
    own.write("orders.jsonl", '{"a": 1}\n{broken\n')
    with job_process(own, "--in-process") as job:
        said, _ = job.communicate(timeout=200)
    assert job.returncode == 4, said
    assert "orders.jsonl, line 2" in said
    assert own.store().versions() == []
