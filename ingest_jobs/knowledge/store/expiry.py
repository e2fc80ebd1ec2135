"""Documents whose time is over leave every version."""

from __future__ import annotations

from deployments.engines.milvus.versions import VersionStore, expired_before


def delete_expired(store: VersionStore, tenant: str, now_s: float | None = None) -> int:
    """Delete a tenant's expired rows from all versions; return how many the live one had."""
    live, deleted = store.live_collection(), 0
    for version in store.versions():
        if not store.has_ledger(version):
            continue
        store.load(version)
        keys = [row["pk"] for row in store.scan(version, tenant, ["pk"], expired_before(now_s))]
        store.delete_rows(version, tenant, keys)
        deleted += len(keys) if version == live else 0
    return deleted
