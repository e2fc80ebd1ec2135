"""What the ingest commands read off a job's log, and the tables that they print."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from cluster.cli.ingest_screen import described, jobs_table, progress_of, told, versions_table
from cluster.lifecycle.jobs_api import JobState
from ingest_jobs.reporting import Progress

pytestmark = pytest.mark.unit

MOMENT = Progress("embedding", 1200, 5000, 2400, 2300, 81.4, 240.0)


def test_last_whole_line_of_progress_counts() -> None:
    log = f'joining\n{Progress("listing").line()}\n{MOMENT.line()}\n@progress {{"phase": '
    assert progress_of(log)["documents"] == 1200
    assert progress_of("joining\n") == {}
    assert told(log.rpartition("\n")[0]) == "joining"


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
