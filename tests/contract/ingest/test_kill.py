"""kill -9 in the middle of a job: of its process, and of the vector store. The end is that of an undisturbed run.

The death of a worker of Ray's is in tests/ray/test_ingest.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from cluster.config.environment import process_environment
from deployments.engines.milvus.versions import VersionStore
from tests.contract.ingest.workshop import Workshop
from tests.contract.milvus_server import RestartableMilvus

pytestmark = [pytest.mark.contract, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = 400
ENOUGH_ROWS = 100


@contextmanager
def job_process(workshop: Workshop) -> Iterator[subprocess.Popen[str]]:
    request = workshop.request()
    command = [
        sys.executable,
        "-m",
        "ingest_jobs.knowledge.run.reindex",
        "--in-process",
        "--source",
        str(request.source),
    ]
    command += ["--milvus", request.milvus_uri, "--alias", request.alias, "--model-dir", str(request.model_dir)]
    command += ["--objects", request.objects_url]
    if request.redis_url:
        command += ["--redis", request.redis_url]
    with subprocess.Popen(
        command, cwd=ROOT, env=process_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as job:
        try:
            yield job
        finally:
            job.kill()


def rows_being_built(workshop: Workshop) -> int:
    store = VersionStore(workshop.uri, workshop.alias)
    try:
        names = list(store.unfinished())
        return store.rows.count(names[0], workshop.tenant) if names else 0
    finally:
        store.close()


@retry(retry=retry_if_result(lambda rows: rows < ENOUGH_ROWS), stop=stop_after_delay(60), wait=wait_fixed(0.05))
def wait_for_rows(workshop: Workshop) -> int:
    return rows_being_built(workshop)


def undisturbed(workshop: Workshop) -> dict[str, object]:
    other = Workshop(workshop.root, workshop.uri, f"{workshop.alias}_plain")
    other.run(objects_url="")
    rows: dict[str, object] = dict(other.rows())
    return rows


def test_killed_job_is_taken_up_again_and_ends_as_an_undisturbed_one(workshop: Workshop) -> None:
    workshop.write_notes(DOCUMENTS)
    with job_process(workshop) as job:
        wait_for_rows(workshop)
        job.send_signal(signal.SIGKILL)
        job.wait()
    had = rows_being_built(workshop)
    assert ENOUGH_ROWS <= had < 2 * DOCUMENTS
    assert workshop.store().live_collection() is None
    # The sources move on between the two runs: what the first one wrote of them must not stay.
    workshop.write_notes(1, say="weighs")
    (workshop.folder() / "note0001.md").unlink()
    report = workshop.run()
    assert report.resumed
    assert report.kept >= had - 6
    assert report.embedded == 2 * (DOCUMENTS - 1) - report.kept
    assert workshop.rows() == undisturbed(workshop)


def test_job_outlives_the_death_of_the_store(workshop: Workshop, tmp_path: Path) -> None:
    with RestartableMilvus(tmp_path / "own-milvus") as milvus:
        own = Workshop(workshop.root, milvus.uri, workshop.alias, workshop.redis_url)
        own.write_notes(DOCUMENTS)
        with job_process(own) as job:
            wait_for_rows(own)
            milvus.kill()
            milvus.start()
            said, _ = job.communicate(timeout=90)
        assert job.returncode == 0, said
        assert own.rows() == undisturbed(own)
