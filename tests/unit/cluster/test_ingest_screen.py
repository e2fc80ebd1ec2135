"""What the ingest commands read off a job's log, and the tables that they print."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from cluster.cli.ingest.cluster import FOLLOWER, KIND, IngestCluster
from cluster.cli.ingest.commands import _newest
from cluster.cli.ingest.screen import (
    described,
    described_job,
    described_updates,
    jobs_table,
    progress_of,
    told,
    versions_table,
)
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle import ClusterState
from cluster.lifecycle.ray.jobs_api import JobState
from ingest_jobs.knowledge.run.reporting import Progress

pytestmark = pytest.mark.unit

CLIENT = httpx.Client
MOMENT = Progress("embedding", 1200, 5000, 2400, 2300, 81.4, 240.0)


def test_last_whole_line_of_progress_counts() -> None:
    log = f'joining\n{Progress("listing").line()}\n{MOMENT.line()}\n@progress {{"phase": '
    assert progress_of(log)["documents"] == 1200
    assert progress_of("joining\n") == {}
    ray = "2026-11-24 19:20:14,939\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
    ray += "Running entrypoint for job x: python -m y\n"
    assert told(ray + log.rpartition("\n")[0]) == "joining"


def test_moment_is_said_in_words() -> None:
    said = described(progress_of(MOMENT.line()))
    assert said == "embedding: 1,200 documents, 2,400 passages, 2,300 embedded (81/s), 4 min left"
    assert described({}) == "starting"


def test_tables_show_running_interrupted_and_ended_jobs() -> None:
    report = {"mode": "full", "documents": 5, "embedded": 9, "refused": 0, "elapsed_s": 1.25}
    answer = {
        "alias": "knowledge",
        "tenant": "acme",
        "versions": [{"version": "knowledge_v1", "state": "live", "rows": 9}],
        "jobs": [
            {"job": "a", "state": "done", **report},
            {"job": "b", "state": "running", **report},
            {"job": "c", "state": "running", **report},
        ],
    }
    running = [JobState("c", "RUNNING", "", None, 1.0, {}), JobState("b", "FAILED", "", 1, 1.0, {})]
    screen = StringIO()
    Console(file=screen, width=120).print(versions_table(answer), jobs_table(answer, running))
    lines = [line.split("\u2502")[1:3] for line in screen.getvalue().splitlines() if line.count("\u2502") > 3]
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["knowledge_v1", "live"], ["c", "running"], ["a", "done"], ["b", "interrupted"],
    ]  # fmt: skip


def test_live_updates_are_said_with_what_to_do_about_them() -> None:
    answer = {"live_updates": True, "waiting": 2, "set_aside": 0}
    assert described_updates(answer, "follow-1") == "live updates: 2 waiting, 0 set aside; applied by follow-1"
    said = described_updates({**answer, "set_aside": 3}, "")
    assert "3 set aside; no follower: `voxray ingest follow --detach` starts one; `voxray ingest changes`" in said
    assert described_updates({"live_updates": False}, "") == "live updates: none, because there is no Redis"


def test_job_that_has_ended_is_said_without_a_present() -> None:
    last = progress_of(Progress("", 5, 5, 9, 9).line())
    ended = JobState("ingest-1", "SUCCEEDED", "", 0, 1.0, {})
    assert described_job(ended, last) == "ingest-1: succeeded: 5 documents, 9 passages, 9 embedded"
    stopped = JobState("ingest-1", "STOPPED", "", None, 1.0, {})
    assert described_job(stopped, {}) == "ingest-1: stopped"
    assert described_job(stopped, progress_of(MOMENT.line())).startswith("ingest-1: stopped while embedding: 1,200 ")
    assert described_job(JobState("ingest-1", "RUNNING", "", None, 1.0, {}), {}) == "ingest-1: running: starting"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> IngestCluster:
    """A cluster that does not run; `answer_with` answers for its jobs."""
    state = ClusterState("", "", "", "", "", "", "http://dashboard", "", tmp_path / "token", tmp_path)
    monkeypatch.setattr(ClusterState, "token", lambda _: "")
    monkeypatch.setattr(ClusterState, "ray_environment", lambda _: {"PYTHONPATH": ""})
    return IngestCluster(VoxrayConfig(), state, tmp_path)


def answer_with(monkeypatch: pytest.MonkeyPatch, known: list[dict[str, object]], sent: list[dict[str, object]]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(json.loads(request.content))
        return httpx.Response(200, json=known)

    monkeypatch.setattr(
        "cluster.lifecycle.ray.jobs_api.httpx.Client",
        lambda **options: CLIENT(base_url=options["base_url"], transport=httpx.MockTransport(answer)),
    )


def test_follower_is_started_once(cluster: IngestCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, object]] = []
    ended = {"submission_id": "follow-0", "status": "STOPPED", "metadata": {"kind": KIND, "name": FOLLOWER}}
    answer_with(monkeypatch, [ended, {"submission_id": "x", "status": "RUNNING"}], sent)
    job, is_new = cluster.ensure_follower()
    assert is_new
    assert [body["submission_id"] for body in sent] == [job]
    assert "-m ingest_jobs.knowledge.operate.follow" in str(sent[0]["entrypoint"])
    answer_with(monkeypatch, [{**ended, "submission_id": job, "status": "RUNNING"}], sent)
    assert cluster.ensure_follower() == (job, False)
    assert len(sent) == 1


def test_newest_job_is_one_that_indexes(cluster: IngestCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [
        {"submission_id": "ingest-1", "status": "RUNNING", "start_time": 1000, "metadata": {"kind": KIND}},
        {"submission_id": "follow-1", "status": "RUNNING", "start_time": 2000}
        | {"metadata": {"kind": KIND, "name": FOLLOWER}},
    ]
    answer_with(monkeypatch, known, [])
    with cluster.jobs() as jobs:
        newest = _newest(jobs)
    assert newest is not None
    assert newest.job == "ingest-1"
