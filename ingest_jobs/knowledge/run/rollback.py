"""Rollback: restores one tenant's rows to their state before its last run, without touching other tenants' rows.

Live updates survive a rollback, because they are newer than the restored state.
"""

from __future__ import annotations

import redis

from deployments.engines.milvus.expressions import not_from_origin
from deployments.engines.milvus.versions import Building, HistoryEntry, VersionStore
from ingest_jobs.knowledge.read.stages import FROM_SOURCE
from ingest_jobs.knowledge.run.pipeline import now_s
from ingest_jobs.knowledge.store.blobs import Blobs
from ingest_jobs.knowledge.store.exclusive import exclusive
from ingest_jobs.knowledge.store.undo import UNDO, delete_undo, read_undo
from pipelines.errors import ConfigError

FULL, INCREMENTAL, OPEN = "full", "incremental", "open"
_SWITCH_WAIT_S = 60.0


def roll_back(store: VersionStore, blobs: Blobs, client: redis.Redis | None, tenant: str, dimensions: int) -> str:
    """Undo the tenant's last run, and return a description of what was done.

    Raises:
        ConfigError: there is nothing to go back to.
    """
    live = store.live_collection()
    history = store.history(live, tenant) if live else []
    if live is None or not history:
        raise ConfigError(f"tenant {tenant}: nothing to roll back in {store.alias}")
    entry = history[-1]
    with exclusive(f"switch:{store.alias}", client=client, folder=None, wait_s=_SWITCH_WAIT_S):
        if entry.kind in {INCREMENTAL, OPEN}:
            take_back(store, blobs, live, tenant, entry)
            store.set_history(live, tenant, history[:-1])
            store.seal(live, tenant)
            return f"{live}: the incremental run {entry.job} is taken back"
        if entry.previous not in store.versions():
            raise ConfigError(f"tenant {tenant}: the version before run {entry.job} is not kept")
        return _return_to(store, live, entry.previous, tenant, dimensions)


def take_back(store: VersionStore, blobs: Blobs, live: str, tenant: str, entry: HistoryEntry) -> None:
    """Restore the rows that an incremental run replaced and removed, and delete those that it added.

    Raises:
        ConfigError: the run's undo file no longer exists.
    """
    found = read_undo(blobs, entry.undo)
    if found is None:
        raise ConfigError(f"tenant {tenant}: the undo file of run {entry.job} is gone")
    touched, batches = found
    updated = _updated_documents(store, live, tenant)
    restored: set[str] = set()
    for batch in batches:
        rows = [row for row in batch if row["doc"] not in updated]
        store.rows.write(live, rows)
        restored |= {row["pk"] for row in rows}
    stale = [
        row["pk"]
        for row in store.rows.of_documents(live, tenant, touched)
        if row["pk"] not in restored and row["doc"] not in updated
    ]
    store.rows.delete_keys(live, tenant, stale)
    delete_undo(blobs, entry.undo)


def _return_to(store: VersionStore, live: str, previous: str, tenant: str, dimensions: int) -> str:
    """Make the tenant's rows of `previous` live. If the alias has other tenants, a combined version is built."""
    target = previous
    if (store.rows.tenants(live) | store.rows.tenants(previous)) - {tenant}:
        content_print = store.fingerprint(previous, tenant)
        building = Building(tenant, content_print, "rollback", now_s())
        target = store.begin(building, dimensions, fields=store.fields(previous, tenant))
        store.rows.copy(previous, target, tenant)
        store.set_history(target, tenant, store.history(previous, tenant))
    updated = sorted(doc for doc in _updated_documents(store, live, tenant) if doc)
    old = [row["pk"] for row in store.rows.of_documents(target, tenant, updated)]
    store.rows.delete_keys(target, tenant, old)
    store.rows.write(target, list(store.rows.of_documents(live, tenant, updated)))
    store.seal(target, tenant)
    store.switch(target)
    return f"{store.alias} -> {target}: the rows of tenant {tenant} are those of {previous}"


def _updated_documents(store: VersionStore, live: str, tenant: str) -> set[str]:
    rows = store.rows.scan(live, tenant, ["doc"], not_from_origin(FROM_SOURCE))
    return {str(row["doc"]) for row in rows}


def drop_stale_undo(store: VersionStore, blobs: Blobs) -> None:
    """Remove the undo files that are no longer named by any version's history."""
    needed: set[str] = set()
    for version in store.versions():
        for tenant in store.tenants_with_history(version):
            needed |= {entry.undo for entry in store.history(version, tenant)}
    for name in list(blobs.names(f"{UNDO}{store.alias}/")):
        if name.endswith(".parquet") and name not in needed:
            delete_undo(blobs, name)
