"""Small records in the object store that outlive a job: descriptions, removed documents and erased persons."""

from __future__ import annotations

from pathlib import PurePosixPath

from deployments.engines.milvus.expressions import not_from_origin
from deployments.engines.milvus.versions import VersionStore
from ingest_jobs.knowledge.read.dataset import Dataset
from ingest_jobs.knowledge.read.stages import FROM_SOURCE, FROM_UPDATE
from ingest_jobs.knowledge.store.blobs import Blobs, get_json, put_json

_DATASETS = "ingest/datasets/"
_REMOVED = "ingest/removed/"
_ERASED = "ingest/erased/"


def save_dataset(blobs: Blobs, alias: str, tenant: str, dataset: Dataset) -> None:
    """Store the description by which a tenant's documents are masked and cut, for use by live updates."""
    put_json(blobs, f"{_DATASETS}{alias}/{tenant}.json", dataset.model_dump(mode="json"))


def saved_dataset(blobs: Blobs, alias: str, tenant: str) -> Dataset:
    """Return the description of the tenant's last job, or the defaults."""
    saved = get_json(blobs, f"{_DATASETS}{alias}/{tenant}.json")
    return Dataset() if saved is None else Dataset.model_validate(saved)


def removed_name(alias: str, tenant: str, doc: str) -> str:
    """Return the name of the file that records the removal of a document by a live update."""
    return f"{_REMOVED}{alias}/{tenant}/{doc}.json"


def overrides(blobs: Blobs, store: VersionStore, live: str, tenant: str) -> dict[str, str]:
    """Return the documents that live updates put or removed, each with the hash of the source content it replaced."""
    found: dict[str, str] = {}
    for name in blobs.names(removed_name(store.alias, tenant, "")[: -len(".json")]):
        found[PurePosixPath(name).stem] = str((get_json(blobs, name) or {}).get("base", ""))
    if live and store.rows.has_ledger(live):
        for row in store.rows.scan(live, tenant, ["doc", "origin"], not_from_origin(FROM_SOURCE)):
            found[str(row["doc"])] = str(row["origin"]).removeprefix(FROM_UPDATE)
    return found


def erase_subject(blobs: Blobs, tenant: str, subject: str, receipt: str, at_s: float) -> None:
    """Record that a person (a digest) must not come back."""
    put_json(blobs, f"{_ERASED}{tenant}/{subject}.json", {"receipt": receipt, "at_s": at_s})


def is_erased(blobs: Blobs, tenant: str, subject: str) -> bool:
    """Return whether a person was erased."""
    return blobs.get(f"{_ERASED}{tenant}/{subject}.json") is not None


def erased_subjects(blobs: Blobs, tenant: str = "") -> dict[str, set[str]]:
    """Return the digests of erased persons by tenant, for one tenant or for all."""
    found: dict[str, set[str]] = {}
    for name in blobs.names(f"{_ERASED}{tenant}/" if tenant else _ERASED):
        path = PurePosixPath(name)
        found.setdefault(path.parent.name, set()).add(path.stem)
    return found
