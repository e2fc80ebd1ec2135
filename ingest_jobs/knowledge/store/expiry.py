"""Deletes expired documents from every version."""

from __future__ import annotations

import time

from deployments.engines.milvus.expressions import expired
from deployments.engines.milvus.versions import VersionStore


def delete_expired(store: VersionStore, tenant: str, now_s: float | None = None) -> int:
    """Delete a tenant's expired rows from all versions, and return how many the live one had."""
    live, deleted = store.live_collection(), 0
    over = expired(time.time() if now_s is None else now_s)
    for version in store.versions():
        if not store.rows.has_ledger(version):
            continue
        store.load(version)
        gone = store.rows.delete(version, tenant, over)
        deleted += gone if version == live else 0
    return deleted
