"""Administrative actions on collections: rollback, diff, list, changes, erase, ... Prints one JSON object.

python -m ingest_jobs.knowledge.operate.admin ACTION
    --milvus URI --alias NAME --model-dir DIR [--objects URL] [--redis URL] ...
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ingest_jobs.knowledge.exits import exit_code
from ingest_jobs.knowledge.operate.erasure import erase, verify
from ingest_jobs.knowledge.quiet import quiet_libraries
from ingest_jobs.knowledge.read.dataset import Dataset, load_dataset
from ingest_jobs.knowledge.run.incremental import difference
from ingest_jobs.knowledge.run.job import Job, add_store_arguments, dimensions_of, exclusive_job, request_of
from ingest_jobs.knowledge.run.journal import Journal
from ingest_jobs.knowledge.run.pipeline import now_s
from ingest_jobs.knowledge.run.reindex import open_job
from ingest_jobs.knowledge.run.reporting import REPORTS
from ingest_jobs.knowledge.run.rollback import roll_back
from ingest_jobs.knowledge.store.blobs import get_json
from ingest_jobs.knowledge.store.expiry import delete_expired
from ingest_jobs.knowledge.store.records import saved_dataset
from pipelines.errors import ConfigError, VoxrayError

_SHOWN_NAMES = 200


def _rollback(job: Job, _parsed: argparse.Namespace) -> dict[str, Any]:
    """Undo the tenant's last run."""
    with exclusive_job(job):
        done = roll_back(job.store, job.blobs, job.redis, job.tenant, dimensions_of(job.plan))
    return {"done": done}


def _diff(job: Job, _parsed: argparse.Namespace) -> dict[str, Any]:
    """Return what an incremental run would change, without changing anything."""
    live = job.store.live_collection()
    if live is None:
        raise ConfigError(f"{job.plan.alias} has no live version to compare with")
    job.store.load(live)
    with closing(Journal()) as journal, difference(job, journal, live) as found:
        names = dict(sorted(found.names.items(), key=lambda item: item[1]))
        rows = job.store.rows.of_documents(live, job.tenant, found.removed[:_SHOWN_NAMES], ["doc_id"])
        report = job.reporter.report
        return {
            "live": live,
            "documents": journal.seen_count(),
            "new": [name for doc, name in names.items() if doc in found.is_new][:_SHOWN_NAMES],
            "changed": [name for doc, name in names.items() if doc not in found.is_new][:_SHOWN_NAMES],
            "removed": sorted({str(row["doc_id"]) for row in rows}),
            "counts": {
                "new": len(found.is_new),
                "changed": len(found.changed) - len(found.is_new),
                "removed": len(found.removed),
                "set_aside": report.refused,
            },
            "same_description": job.store.fingerprint(live, job.tenant) == job.content_print(),
            "set_aside": report.refusals,
        }


def _list(job: Job, _parsed: argparse.Namespace) -> dict[str, Any]:
    """List the versions with their rows, the tenant's history, and the reports of its jobs, newest first."""
    store = job.store
    live = store.live_collection()
    unfinished = store.unfinished()
    versions = []
    for name in reversed(store.versions()):
        store.load(name)
        state = "live" if name == live else "unfinished" if name in unfinished else "kept"
        versions.append({"version": name, "state": state, "rows": store.rows.count(name, job.tenant)})
    history = [asdict(entry) for entry in store.history(live, job.tenant)] if live else []
    names = sorted(job.blobs.names(f"{REPORTS}{job.tenant}/"), reverse=True)[:50]
    reports = [get_json(job.blobs, name) for name in names]
    reports.sort(key=lambda report: -report["started_at_s"])
    return {"alias": store.alias, "tenant": job.tenant, "versions": versions, "history": history, "jobs": reports}


def _due(job: Job, _parsed: argparse.Namespace) -> dict[str, Any]:
    """Return whether a run is due by the dataset's schedule."""
    hours = job.dataset.schedule.every_hours
    reports = [get_json(job.blobs, name) for name in job.blobs.names(f"{REPORTS}{job.tenant}/")]
    done = [r for r in reports if r["state"] == "done" and r["dataset"] == job.dataset.name]
    last_s = max((r["started_at_s"] for r in done), default=0.0)
    due_s = last_s + hours * 3600
    return {"is_due": bool(hours) and now_s() >= due_s, "due_at_s": due_s, "every_hours": hours}


def _erase(job: Job, parsed: argparse.Namespace) -> dict[str, Any]:
    """Erase a person."""
    logs = [job.changes] if job.changes else []
    return asdict(erase([job.store], job.blobs, logs, job.tenant, parsed.subject))


def _verify(job: Job, parsed: argparse.Namespace) -> dict[str, Any]:
    """Check a receipt of an erasure."""
    logs = [job.changes] if job.changes else []
    try:
        receipt = json.loads(Path(parsed.receipt).read_text("utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"{parsed.receipt}: cannot be read as a receipt") from error
    is_ours, found = verify(receipt, [job.store], job.blobs, logs)
    return {"is_signed_by_us": is_ours, "found_now": found, "holds": is_ours and not any(found.values())}


def _changes(job: Job, parsed: argparse.Namespace) -> dict[str, Any]:
    """Report the progress of live updates and the changes that the store refused, and retry or forget the latter."""
    if (log := job.changes) is None:
        return {"live_updates": False}
    chosen = [each for each in log.all_set_aside() if each.change.tenant == job.tenant]
    if parsed.retry or parsed.forget:
        for each in chosen if parsed.retry else ():
            log.append(each.change)
        return {"live_updates": True, "done": log.forget_set_aside([each.entry for each in chosen])}
    shown = chosen[-_SHOWN_NAMES:]
    return {
        "live_updates": True,
        "applied_until": log.applied(),
        "waiting": log.waiting(),
        "set_aside": len(chosen),
        "changes": [
            {"change": e.change_id, "kind": e.change.kind, "document": e.change.doc_id, "reason": e.reason}
            for e in shown
        ],
    }


def _expire(job: Job, _parsed: argparse.Namespace) -> dict[str, Any]:
    """Delete expired documents."""
    return {"expired_rows": delete_expired(job.store, job.tenant)}


ACTIONS: dict[str, Callable[[Job, argparse.Namespace], dict[str, Any]]] = {
    "rollback": _rollback,
    "diff": _diff,
    "list": _list,
    "due": _due,
    "erase": _erase,
    "verify": _verify,
    "expire": _expire,
    "changes": _changes,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    quiet_libraries()
    parser = argparse.ArgumentParser(
        prog="python -m ingest_jobs.knowledge.operate.admin", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("action", choices=ACTIONS)
    add_store_arguments(parser)
    parser.add_argument("--source", type=Path, help="dataset: a YAML file, or a folder; default: that of the last job")
    parser.add_argument("--subject", default="", help="id of the person to erase")
    parser.add_argument("--receipt", default="", help="file with a receipt")
    parser.add_argument("--retry", action="store_true", help="try the changes that were set aside again")
    parser.add_argument("--forget", action="store_true", help="forget the changes that were set aside")
    parsed = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        print(json.dumps(_done(parsed)))  # noqa: T201 - the answer of this command
    except VoxrayError as error:
        Console(stderr=True, highlight=False).print(f"{parsed.action} failed: {error}", markup=False, soft_wrap=True)
        return exit_code(error)
    return 0


def _done(parsed: argparse.Namespace) -> dict[str, Any]:
    request = request_of(parsed)
    dataset = load_dataset(parsed.source) if parsed.source else None
    with closing(open_job(request, _no_stages, dataset=dataset or Dataset(name="-"))) as job:
        if dataset is None:
            saved = saved_dataset(job.blobs, job.plan.alias, job.tenant)
            job.plan = replace(job.plan, dataset=saved)
        return ACTIONS[parsed.action](job, parsed)


def _no_stages(*_: object) -> Any:
    raise AssertionError("no action runs the stages")


if __name__ == "__main__":
    sys.exit(main())
