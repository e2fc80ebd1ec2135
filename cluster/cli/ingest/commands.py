"""`voxray ingest`: puts business data into the running cluster's vector store and shows what became of it.

Exit codes of a run: 0 done, 2 wrong input, 3 a store or engine failed (run it again to resume), 4 the data is not good
enough to go live, 5 another job works on the collection, 130 interrupted.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cluster.cli.ingest.cluster import KIND, IngestCluster, check_dataset, is_follower, open_cluster
from cluster.cli.ingest.screen import (
    described_job,
    described_updates,
    follow,
    jobs_table,
    progress_of,
    told,
    versions_table,
)
from cluster.cli.options import FileOption, ProfileOption
from cluster.lifecycle.ray.jobs_api import JobsApi, JobState
from cluster.programs import Program
from pipelines.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Index business data for the calls."
)
_STOP_WAIT_S = 30
_INTERRUPTED = 130

SourceArgument = Annotated[Path, typer.Argument(help="Dataset: a YAML file (docs/ingest.md), or a folder of files.")]
TenantOption = Annotated[
    str | None, typer.Option(help="Tenant of the data, unless the dataset names one. Default: the agent's.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Build a new version even when nothing has changed.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobArgument = Annotated[str, typer.Argument(help="Id of the job. Default: the newest.")]


@app.callback()
def ingest() -> None:
    """Index business data for the calls."""


@app.command()
def run(
    source: SourceArgument,
    tenant: TenantOption = None,
    force: ForceOption = False,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Index a small dataset in this process, without a job."""
    check_dataset(source)
    cluster = open_cluster(profile, file)
    command = Program.REINDEX.command("--in-process", "--source", str(source.resolve()))
    command += [*cluster.store_arguments(tenant), *(["--force"] if force else [])]
    ended = subprocess.run(command, env=cluster.environment(), check=False)
    raise typer.Exit(ended.returncode)


@app.command()
def submit(  # noqa: PLR0917 - one argument per command-line option
    source: SourceArgument,
    tenant: TenantOption = None,
    force: ForceOption = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the job's end.")] = False,
    if_due: Annotated[bool, typer.Option("--if-due", help="Run only if the dataset's schedule says so.")] = False,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Index a dataset with a job on the cluster. The live version answers calls until the new one is complete."""
    check_dataset(source)
    cluster = open_cluster(profile, file)
    if if_due:
        due = cluster.ask("due", ["--source", str(source.resolve())], tenant)
        if not due["is_due"]:
            when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(due["due_at_s"]))
            typer.echo(f"not due before {when}" if due["every_hours"] else "the dataset has no schedule")
            return
    arguments = ["--source", str(source.resolve()), *(["--force"] if force else [])]
    job = cluster.submit(Program.REINDEX, arguments, name="ingest", tenant=tenant)
    typer.echo(f"job {job}")
    if not detach:
        raise typer.Exit(_watch(cluster, job))


@app.command()
def status(
    job: JobArgument = "", as_json: JsonOption = False, profile: ProfileOption = None, file: FileOption = None
) -> None:
    """Show the progress of a job and the state of live updates without waiting."""
    cluster = open_cluster(profile, file)
    with cluster.jobs() as jobs:
        state = _job(jobs, job) if job else _newest(jobs)
        progress = progress_of(jobs.logs(state.job)) if state else {}
    follower, updates = cluster.follower(), cluster.ask("changes", [], None)
    if as_json:
        found = {"job": state.job, "status": state.status, "progress": progress} if state else {"job": ""}
        typer.echo(json.dumps({**found, "follower": follower.job if follower else "", "live_updates": updates}))
        return
    typer.echo(described_job(state, progress) if state else "no ingest job has been submitted")
    typer.echo(described_updates(updates, follower.job if follower else ""))


@app.command()
def changes(  # noqa: PLR0917 - one argument per command-line option
    retry: Annotated[bool, typer.Option("--retry", help="Submit them again as new changes.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget them.")] = False,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """List the live updates that the store refused, each with its reason."""
    if retry and forget:
        raise ConfigError("give either --retry or --forget, not both")
    cluster = open_cluster(profile, file)
    more = [f"--{name}" for name, is_set in (("retry", retry), ("forget", forget)) if is_set]
    answer = cluster.ask("changes", more, tenant)
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
    elif more:
        typer.echo(f"{answer.get('done', 0)} changes {'wait to be applied again' if retry else 'are forgotten'}")
    else:
        for each in answer.get("changes", ()):
            typer.echo(f"{each['change']}  {each['kind']} {each['document']}: {each['reason']}")
        typer.echo(f"{answer.get('set_aside', 0)} set aside, {answer.get('waiting', 0)} waiting", err=True)


@app.command()
def logs(
    job: JobArgument = "",
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Show progress until the job has ended.")] = False,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Print the output of a job."""
    cluster = open_cluster(profile, file)
    with cluster.jobs() as jobs:
        state = _job(jobs, job)
        if not follow_it:
            typer.echo(told(jobs.logs(state.job)))
            return
    raise typer.Exit(_watch(cluster, state.job))


@app.command()
def cancel(job: JobArgument = "", profile: ProfileOption = None, file: FileOption = None) -> None:
    """Stop a job. Its unfinished version is kept, and the next run of the same dataset resumes it."""
    with open_cluster(profile, file).jobs() as jobs:
        state = _job(jobs, job)
        if state.has_ended:
            typer.echo(f"{state.job} has ended already ({state.status.lower()})")
            return
        jobs.stop(state.job)
        for _ in range(_STOP_WAIT_S):
            now = jobs.state(state.job)
            if now is None or now.has_ended:
                typer.echo(f"{state.job}: stopped")
                return
            time.sleep(1)  # noqa: TID251 - another process gives no event to wait for
    typer.echo(f"{state.job}: was asked to stop, but has not ended yet")
    raise typer.Exit(1)


@app.command("list")
def list_jobs(
    tenant: TenantOption = None, as_json: JsonOption = False, profile: ProfileOption = None, file: FileOption = None
) -> None:
    """List the versions of the collection, and the jobs of a tenant with their reports."""
    cluster = open_cluster(profile, file)
    answer = cluster.ask("list", [], tenant)
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
        return
    with cluster.jobs() as jobs:
        running = [state for state in jobs.all() if state.metadata.get("kind") == KIND]
    console = Console()
    console.print(versions_table(answer), jobs_table(answer, running))


@app.command()
def diff(
    source: SourceArgument,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Show which documents a run would add, change and remove, without changing anything."""
    check_dataset(source)
    answer = open_cluster(profile, file).ask("diff", ["--source", str(source.resolve())], tenant)
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
        return
    if not answer["same_description"]:
        typer.echo("the dataset's description or the model has changed, so a run rebuilds everything")
    for mark, key in (("+", "new"), ("~", "changed"), ("-", "removed")):
        for name in answer[key]:
            typer.echo(f"{mark} {name}")
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in answer["counts"].items())
    typer.echo(f"{counts}, of {answer['documents']} documents; compared with {answer['live']}")


@app.command()
def rollback(
    tenant: TenantOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Undo a tenant's last run in one step. Other tenants' data is not affected."""
    cluster = open_cluster(profile, file)
    if not yes:
        typer.confirm(f"Undo the last run of tenant {tenant or cluster.tenant}?", abort=True)
    typer.echo(cluster.ask("rollback", [], tenant)["done"])


@app.command()
def expire(tenant: TenantOption = None, profile: ProfileOption = None, file: FileOption = None) -> None:
    """Delete expired documents. Every run does so too."""
    typer.echo(f"{open_cluster(profile, file).ask('expire', [], tenant)['expired_rows']} passages had expired")


@app.command("follow")
def follow_changes(
    detach: Annotated[
        bool, typer.Option("--detach", help="Run as a job on the cluster until it is cancelled.")
    ] = False,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Apply live updates (PUT and DELETE of single documents) as they arrive."""
    cluster = open_cluster(profile, file)
    if detach:
        job, is_new = cluster.ensure_follower()
        typer.echo(f"job {job}" if is_new else f"job {job} follows already")
        return
    command = Program.FOLLOW.command(*cluster.store_arguments(None))
    raise typer.Exit(subprocess.run(command, env=cluster.environment(), check=False).returncode)


def _job(jobs: JobsApi, job: str) -> JobState:
    state = jobs.state(job) if job else _newest(jobs)
    if state is None:
        raise ConfigError(f"no job {job} on this cluster" if job else "no ingest job has been submitted")
    return state


def _newest(jobs: JobsApi) -> JobState | None:
    """Return the newest job that indexes a dataset, which excludes the follower, since it runs for ever."""
    mine = (s for s in jobs.all() if s.metadata.get("kind") == KIND and not is_follower(s))
    return next(mine, None)


def _watch(cluster: IngestCluster, job: str) -> int:
    """Show a job until its end and return its exit code. Ctrl-C ends the watching but not the job."""
    console = Console(stderr=True)
    try:
        with cluster.jobs() as jobs:
            state = follow(jobs, job, console)
            text = told(jobs.logs(job)).strip()
    except KeyboardInterrupt:
        goes_on = f"the job continues: `voxray ingest logs -f {job}` shows it, `voxray ingest cancel {job}` stops it"
        console.print(goes_on, soft_wrap=True)
        return _INTERRUPTED
    if state.status == "SUCCEEDED":
        typer.echo("\n".join(text.splitlines()[-3:]))
        return 0
    typer.echo(text or state.message, err=True)
    return state.exit_code or 1
