"""Shows a running ingest job on a terminal."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from cluster.lifecycle.ray.jobs_api import JobsApi, JobState

PROGRESS_MARK = "@progress "
_IS_NO_NEWS = re.compile(rf"{PROGRESS_MARK}|\S+ \S+\tINFO job_manager\.py|Running entrypoint for job |\(raylet\) ")
_POLL_S = 1.0


def progress_of(log: str) -> dict[str, Any]:
    """Return the last progress that a job has printed, or {} before the first."""
    start = log.rfind(PROGRESS_MARK)
    if start < 0:
        return {}
    line = log[start + len(PROGRESS_MARK) :].partition("\n")[0]
    try:
        found: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:  # the line is still being written
        return progress_of(log[:start])
    return found


def told(log: str) -> str:
    """Return a job's log without its lines of progress and without Ray's messages about starting it."""
    return "\n".join(line for line in log.splitlines() if not _IS_NO_NEWS.match(line))


def described(progress: dict[str, Any]) -> str:
    """Describe one moment of a job in words."""
    if not progress.get("phase"):
        return "starting"
    text = f"{progress['phase']}: {_counts(progress)}"
    if progress["phase"] == "embedding":
        text += f" ({progress['chunks_a_s']:,.0f}/s)"
        if progress["left_s"] >= 0:
            text += f", {_minutes(progress['left_s'])} left"
    return text


def described_job(state: JobState, progress: dict[str, Any]) -> str:
    """Describe the state of a job. A job that has ended has no current step."""
    if state.has_ended:
        said = f"{state.job}: {state.status.lower()}"
        said += f" while {progress['phase']}" if progress.get("phase") else ""
        return f"{said}: {_counts(progress)}" if progress else said
    return f"{state.job}: {state.status.lower()}: {described(progress)}"


def described_updates(answer: dict[str, Any], follower: str) -> str:
    """Describe the state of live updates: who applies them, how many wait, and how many the store refused."""
    if not answer["live_updates"]:
        return "live updates: none, because there is no Redis"
    by = f"applied by {follower}" if follower else "no follower: `voxray ingest follow --detach` starts one"
    text = f"live updates: {answer['waiting']} waiting, {answer['set_aside']} set aside; {by}"
    return f"{text}; `voxray ingest changes` shows why" if answer["set_aside"] else text


def follow(jobs: JobsApi, job: str, console: Console) -> JobState:
    """Show a job until it has ended, and return how it ended."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(30), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        for state, progress in _moments(jobs, job):
            expected = progress.get("documents_expected") or None
            total = max(expected, progress["documents"]) if expected else None
            bar.update(task, description=described(progress), total=total, completed=progress.get("documents", 0))
            if state.has_ended:
                return state
    raise AssertionError("a job's moments end with its end")


def _moments(jobs: JobsApi, job: str) -> Iterator[tuple[JobState, dict[str, Any]]]:
    while True:
        state = jobs.state(job)
        if state is None:
            state = JobState(job, "STOPPED", "Ray does not know this job (any more)", None, 0.0, {})
        yield state, progress_of(jobs.logs(job))
        if state.has_ended:
            return
        time.sleep(_POLL_S)  # noqa: TID251 - another machine's job gives no event to wait for


def jobs_table(answer: dict[str, Any], running: list[JobState]) -> Table:
    """Return the table of a tenant's jobs, running ones first."""
    table = Table(title=f"jobs of tenant {answer['tenant']} on {answer['alias']}", title_justify="left")
    for column in ("job", "state", "mode", "documents", "embedded", "set aside", "took"):
        table.add_column(column)
    ended = {report["job"] for report in answer["jobs"] if report["state"] != "running"}
    alive = {state.job for state in running if not state.has_ended}
    for state in running:
        if state.job in alive and state.job not in ended:
            table.add_row(state.job, state.status.lower(), "", "", "", "", "")
    for report in answer["jobs"]:
        if report["job"] in alive - ended:
            continue
        how = report["state"] if report["state"] != "running" else "interrupted"
        counts = (f"{report[name]:,}" for name in ("documents", "embedded", "refused"))
        table.add_row(report["job"], how, report["mode"], *counts, f"{report['elapsed_s']:.1f} s")
    return table


def versions_table(answer: dict[str, Any]) -> Table:
    """Return the table of an alias's versions."""
    table = Table(title=f"versions of {answer['alias']}", title_justify="left")
    for column in ("version", "state", "passages"):
        table.add_column(column)
    for version in answer["versions"]:
        table.add_row(version["version"], version["state"], f"{version['rows']:,}")
    return table


def _counts(progress: dict[str, Any]) -> str:
    counts = f"{progress['documents']:,} documents, {progress['chunks']:,} passages"
    return f"{counts}, {progress['embedded']:,} embedded"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
