"""The ingest job: indexes a dataset into its collection, either in full or only what has changed.

    python -m ingest_jobs.knowledge.run.reindex --source DATASET
        --milvus URI --alias NAME --model-dir DIR [--objects URL --redis URL]

Inside a Ray job it joins that cluster; elsewhere it starts Ray in this process, or needs no Ray with `--in-process`.
The live version answers calls until the new one is sealed and has passed the quality gate. Running the same command
again resumes a killed run. Exit codes: 0 done, 2 wrong input, 3 a store or engine failed (run it again), 4 the data is
not good enough to go live, 5 another job works on the collection.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ingest_jobs.knowledge.exits import exit_code
from ingest_jobs.knowledge.quiet import quiet_libraries
from ingest_jobs.knowledge.read.dataset import Dataset, load_dataset
from ingest_jobs.knowledge.read.sources import all_units
from ingest_jobs.knowledge.run.full import run_full
from ingest_jobs.knowledge.run.incremental import run_incremental
from ingest_jobs.knowledge.run.job import (
    Job,
    ReindexRequest,
    RunStages,
    add_store_arguments,
    exclusive_job,
    open_stores,
    plan_of,
    request_of,
)
from ingest_jobs.knowledge.run.journal import Journal
from ingest_jobs.knowledge.run.pipeline import Encoder, LazyEncoder, now_s, run_in_process, yield_cpu
from ingest_jobs.knowledge.run.reporting import Progress, Report, Reporter, ShowProgress
from ingest_jobs.knowledge.run.rollback import drop_stale_undo
from ingest_jobs.knowledge.store.expiry import delete_expired
from ingest_jobs.knowledge.store.records import erased_subjects, overrides, save_dataset
from pipelines.errors import ConfigError, EngineError, VoxrayError


def _silent(_progress: Progress) -> None:
    """Ignore progress."""


def reindex_in_process(request: ReindexRequest, encoder: Encoder, *, show: ShowProgress = _silent) -> Report:
    """Run the job without Ray, for small data and tests.

    Raises:
        ConfigError: the dataset is missing, empty or wrong.
        GateFailed: the data is not good enough to go live.
        CapacityError: another job works on the collection.
        EngineError: a store failed. The live version is intact.
    """
    return run_job(request, lambda plan, units: run_in_process(plan, units, encoder), show=show, encoder=encoder)


def reindex_with_ray(request: ReindexRequest, *, show: ShowProgress = _silent) -> Report:
    """Run the job as a Ray Data pipeline on the current cluster, starting a local Ray if there is none.

    Raises: as `reindex_in_process`.
    """
    from ingest_jobs.knowledge.run.ray_pipeline import run_with_ray

    return run_job(request, run_with_ray, show=show)


def run_job(
    request: ReindexRequest, run_stages: RunStages, *, show: ShowProgress = _silent, encoder: Encoder | None = None
) -> Report:
    """Open everything, exclude other jobs, do the work, and leave a report whatever happens."""
    job = open_job(request, run_stages, show=show, encoder=encoder)
    try:
        with exclusive_job(job):
            job.reporter.save("running")
            _work(job)
        job.reporter.save("done")
    except BaseException as error:
        # If the object store itself has failed, its error must not hide the first one.
        with suppress(EngineError):
            job.reporter.save("failed", f"{type(error).__name__}: {error}")
        raise
    finally:
        job.close()
    return job.reporter.report


def open_job(
    request: ReindexRequest,
    run_stages: RunStages,
    *,
    dataset: Dataset | None = None,
    show: ShowProgress = _silent,
    encoder: Encoder | None = None,
) -> Job:
    """Connect to everything a job needs. The caller closes it. If `dataset` is None, the request's source is read."""
    dataset = dataset or load_dataset(request.source)
    plan = plan_of(request, dataset)
    store, blobs, client = open_stores(request, plan)
    job_id = request.job or f"ingest-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    report = Report(job_id, dataset.name, plan.tenant, plan.alias, started_at_s=round(now_s(), 3))
    live = store.live_collection()
    erased = erased_subjects(blobs, plan.tenant).get(plan.tenant, set())
    plan = replace(plan, erased=frozenset(erased), overrides=overrides(blobs, store, live or "", plan.tenant))
    return Job(plan, request, store, blobs, client, Reporter(report, blobs, show), run_stages, encoder)


def _work(job: Job) -> None:
    """Choose the mode and run it."""
    reporter = job.reporter
    reporter.phase("listing")
    reporter.units_expected = sum(1 for _ in all_units(job.dataset))
    if reporter.units_expected == 0:
        raise ConfigError(f"{job.request.source}: no readable business data")
    live = job.store.live_collection()
    if live is not None:
        job.store.load(live)
        reporter.report.expired += delete_expired(job.store, job.tenant)
    if not (live and _can_be_edited(job, live)) or not _updated(job, live):
        with closing(Journal()) as journal:
            reporter.restart()
            run_full(job, journal)
    save_dataset(job.blobs, job.plan.alias, job.tenant, job.dataset)
    drop_stale_undo(job.store, job.blobs)


def _can_be_edited(job: Job, live: str) -> bool:
    """Return whether this description made the live version's rows, and no full run of it is waiting to be finished."""
    wanted = job.content_print()
    is_same = job.store.rows.has_ledger(live) and job.store.fingerprint(live, job.tenant) == wanted
    waits = any(b.tenant == job.tenant and b.content_print == wanted for b in job.store.unfinished().values())
    return is_same and not waits and not job.request.is_forced


def _updated(job: Job, live: str) -> bool:
    with closing(Journal()) as journal:
        return run_incremental(job, journal, live)


def _parse(arguments: list[str]) -> tuple[ReindexRequest, argparse.Namespace]:
    parser = argparse.ArgumentParser(
        prog="python -m ingest_jobs.knowledge.run.reindex", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--source", type=Path, required=True, help="dataset: a YAML file, or a folder")
    add_store_arguments(parser)
    parser.add_argument("--job", default="", help="id of the job; default: derived from the time")
    parser.add_argument("--force", action="store_true", help="build a new version even when nothing changed")
    parser.add_argument("--in-process", action="store_true", help="without Ray; for small data")
    parser.add_argument("--progress", choices=("text", "json"), default="text", help="how progress is printed")
    parsed = parser.parse_args(arguments)
    request = replace(request_of(parsed), source=parsed.source.resolve(), is_forced=parsed.force, job=parsed.job)
    return request, parsed


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    quiet_libraries()
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    request, parsed = _parse(sys.argv[1:] if arguments is None else arguments)
    show = _printer(console, as_json=parsed.progress == "json")
    try:
        yield_cpu(load_dataset(request.source).placement.niceness)
        report = _run_here(request, show) if parsed.in_process else reindex_with_ray(request, show=show)
    except VoxrayError as error:
        errors.print(f"ingest failed: {error}", markup=False, soft_wrap=True)
        return exit_code(error)
    console.print(summary(report), markup=False, soft_wrap=True)
    return 0


def _run_here(request: ReindexRequest, show: ShowProgress) -> Report:
    plan = plan_of(request, load_dataset(request.source))
    return reindex_in_process(request, LazyEncoder(plan), show=show)


def summary(report: Report) -> str:
    """Summarise a job in a few lines."""
    if report.mode == "unchanged":
        lines = [f"unchanged: {report.documents} documents are as in {report.collection}; nothing to do"]
    elif report.mode == "incremental":
        lines = [f"{report.alias}: {report.changed} documents changed, {report.removed} removed, of {report.documents}"]
    else:
        lines = [
            f"{report.alias} -> {report.collection}: {report.chunks} passages of {report.documents} documents live"
        ]
    if report.refused:
        lines.append(f"{report.refused} set aside, such as: {report.refusals[0]}")
    lines.append(f"done in {report.elapsed_s:.1f} s")
    return "\n".join(lines)


def _printer(console: Console, *, as_json: bool) -> ShowProgress:
    def show(progress: Progress) -> None:
        if as_json:
            console.file.write(progress.line() + "\n")
            console.file.flush()
        elif progress.phase and progress.phase != last[0]:
            last[0] = progress.phase
            console.print(f"{progress.phase}: {progress.documents} documents, {progress.chunks} passages", markup=False)

    last = [""]
    return show


if __name__ == "__main__":
    sys.exit(main())
