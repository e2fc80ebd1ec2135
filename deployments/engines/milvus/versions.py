"""The writing side of the vector store: versions being built, what they hold, how they go live and back.

What is true of a collection is written on the collection (its properties), so that no record beside it can disagree:

    voxray.fingerprint.TENANT   print of the description that the tenant's rows were made by
    voxray.building             who builds it and since when; a version with this and without the alias is unfinished
    voxray.history.TENANT       what changed the tenant's rows, newest last: how to go back
    voxray.fields.TENANT        which fields of the tenant's data lie in which columns (milvus_fields)

An alias is shared by tenants, and a version holds the rows of all of them. Whatever is done for one tenant is done
under its filter, or carries the others' rows over unchanged.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deployments.engines.milvus.fields import Field, as_property, of_property
from deployments.engines.milvus.index_plan import METRIC
from deployments.engines.milvus.store import (
    DENSE,
    FIELDS_PROPERTY,
    LEDGER_DEFAULTS,
    SPARSE,
    IndexedPassage,
    KnowledgeStore,
    milvus_errors,
    tenant_filter,
)

_BUILDING = "voxray.building"
_HISTORY = "voxray.history."
_FINGERPRINT = "voxray.fingerprint."
_LOOKUP_KEYS = 256
_SCAN_ROWS = 2000
# Searches wait while the embedded server takes a batch of rows in: small ones are waited for less.
_WRITE_ROWS = 64
# So do callers' searches behind these; eight cost it less than three asked one by one.
_SEARCH_VECTORS = 8
_MAX_HISTORY = 8


@dataclass(frozen=True, slots=True)
class Building:
    """Who builds a version.

    Attributes:
        tenant: whose rows are made.
        content_print: print of the dataset's description.
        job: id of the job that began it; another one may finish it.
        started_s: seconds since 1970.
        change_id: position in the change log before the sources were read.
    """

    tenant: str
    content_print: str
    job: str
    started_s: float
    change_id: str = ""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of a tenant's rows. A "full" one is undone by `previous`, an "incremental" one by the file `undo`."""

    kind: str
    job: str
    at_s: float
    previous: str = ""
    undo: str = ""


class VersionStore(KnowledgeStore):
    """A `KnowledgeStore` that also knows documents, unfinished versions and the way back. Blocking, for jobs."""

    def __init__(self, uri: str, alias: str, *, token: str = "") -> None:
        super().__init__(uri, alias, token=token)
        # It warns at each scan of a milvus-lite that it uses the client's clock.
        logging.getLogger("pymilvus.client.iterator").setLevel(logging.ERROR)

    @property
    def alias(self) -> str:
        """The alias whose versions these are."""
        return self._alias

    def has_ledger(self, collection: str) -> bool:
        """Return whether the collection's rows tell their documents; those of earlier releases do not."""
        return set(LEDGER_DEFAULTS) <= set(self._fields(collection))

    def versions(self) -> list[str]:
        """Return all versions of the alias, oldest first."""
        with milvus_errors():
            return self._versions()

    def begin(
        self, building: Building, dimensions: int, *, expected_rows: int = 0, fields: Mapping[str, Field] | None = None
    ) -> str:
        """Create the next version with the other tenants' rows in it; return its name.

        Args:
            building: whose rows are made, and by whom.
            dimensions: of the vectors.
            expected_rows: about how many rows the tenant will have; with the other tenants' it decides the index.
            fields: what searches may filter the tenant's rows by; None: what the live version says.
        """
        live = self.live_collection()
        if expected_rows and live is not None:
            expected_rows += self.rows(live) - self.rows(live, building.tenant)
        name = self.create_collection(building.tenant, building.content_print, dimensions, expected_rows=expected_rows)
        kept = (_HISTORY, FIELDS_PROPERTY)
        carried = {k: v for k, v in self.properties(live).items() if k.startswith(kept)} if live else {}
        if fields is not None:
            carried[FIELDS_PROPERTY + building.tenant] = as_property(fields)
        self.set_properties(name, {_BUILDING: json.dumps(asdict(building)), **carried})
        return name

    def fields(self, collection: str, tenant: str) -> dict[str, Field]:
        """Return what searches may filter a tenant's rows of a version by."""
        return of_property(self.properties(collection).get(FIELDS_PROPERTY + tenant, ""))

    def unfinished(self) -> dict[str, Building]:
        """Return the versions that were begun and never went live."""
        live = self.live_collection() or ""
        found: dict[str, Building] = {}
        for name in self.versions():
            mark = self.properties(name).get(_BUILDING, "")
            if mark and name > live:
                found[name] = Building(**json.loads(mark))
        return found

    def properties(self, collection: str) -> dict[str, str]:
        """Return what is written on a collection."""
        with milvus_errors():
            described = self._client.describe_collection(collection)
        return dict(described.get("properties", {}))

    def set_properties(self, collection: str, values: Mapping[str, str]) -> None:
        """Write on a collection; other properties stay."""
        with milvus_errors():
            self._client.alter_collection_properties(collection, dict(values))

    def fingerprint_of(self, collection: str, tenant: str) -> str:
        """Return by which description the tenant's rows of a version were made, "" when it has none."""
        return self.properties(collection).get(f"{_FINGERPRINT}{tenant}", "")

    def tenants_with_history(self, collection: str) -> set[str]:
        """Return the tenants whose changes a version remembers."""
        return {key.removeprefix(_HISTORY) for key in self.properties(collection) if key.startswith(_HISTORY)}

    def history(self, collection: str, tenant: str) -> list[HistoryEntry]:
        """Return what changed the tenant's rows of a version, newest last."""
        return [HistoryEntry(**entry) for entry in json.loads(self.properties(collection).get(_HISTORY + tenant, "[]"))]

    def set_history(self, collection: str, tenant: str, entries: Sequence[HistoryEntry]) -> None:
        """Replace the tenant's history of a version; the oldest entries fall off."""
        kept = [asdict(entry) for entry in entries[-_MAX_HISTORY:]]
        self.set_properties(collection, {_HISTORY + tenant: json.dumps(kept)})

    def switch(self, collection: str) -> None:
        """Point the alias at `collection`, in one step. The version before stays as it is."""
        has_live = self.live_collection() is not None
        with milvus_errors():
            if has_live:
                self._client.alter_alias(collection, self._alias)
            else:
                self._client.create_alias(collection, self._alias)
            self._client.alter_collection_properties(collection, {_BUILDING: ""})

    def prune(self) -> list[str]:
        """Drop what nobody needs: neither live, nor being built, nor the way back of a tenant; return the names."""
        live = self.live_collection()
        needed = {live, *self.unfinished()}
        for key, text in (self.properties(live) if live else {}).items():
            if key.startswith(_HISTORY):
                fulls = [entry for entry in json.loads(text) if entry["kind"] == "full"]
                needed |= {entry["previous"] for entry in fulls[-1:]}
        stale = [name for name in self.versions() if name not in needed]
        for name in stale:
            self.drop_collection(name)
        return stale

    def load(self, collection: str) -> None:
        """Make a version searchable; does nothing when it is. A restarted embedded server has released them all."""
        with milvus_errors():
            self._client.load_collection(collection)

    def write(self, collection: str, passages: Sequence[IndexedPassage]) -> None:
        """Upsert in small batches, so that searches come through between them."""
        for start in range(0, len(passages), _WRITE_ROWS):
            self.upsert(collection, passages[start : start + _WRITE_ROWS])

    def write_rows(self, collection: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Upsert rows as they were read by `rows_of_documents` or `scan`."""
        for start in range(0, len(rows), _WRITE_ROWS):
            self._upsert_rows(collection, rows[start : start + _WRITE_ROWS])

    def present(self, collection: str, keys: Sequence[str]) -> dict[str, str]:
        """Return which of the rows exist, with the hash of what was embedded."""
        found: dict[str, str] = {}
        with milvus_errors():
            for batch in _batches(keys):
                rows = self._client.query(
                    collection, filter=f"pk in {_listed(batch)}", output_fields=["pk", "chunk_hash"]
                )
                found |= {row["pk"]: row["chunk_hash"] for row in rows}
        return found

    def scan(self, collection: str, tenant: str, fields: Sequence[str], only: str = "") -> Iterator[dict[str, Any]]:
        """Yield all rows of a tenant, or those that the further filter `only` takes, a batch in memory at a time."""
        condition = tenant_filter(tenant) + (f" and {only}" if only else "")
        yield from self._scan(collection, condition, fields)

    def rows_of_documents(self, collection: str, tenant: str, docs: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the whole rows of documents, by the hashes of their ids."""
        for batch in _batches(docs):
            yield from self.scan(collection, tenant, self._fields(collection), f"doc in {_listed(batch)}")

    def delete_rows(self, collection: str, tenant: str, keys: Sequence[str]) -> None:
        """Delete rows of a tenant by key."""
        with milvus_errors():
            for batch in _batches(keys):
                self._client.delete(collection, filter=f"{tenant_filter(tenant)} and pk in {_listed(batch)}")

    def compact(self, collection: str) -> None:
        """Ask the server to rewrite its files without what was deleted; it does so in its own time."""
        with milvus_errors():
            self._client.flush(collection)
            self._client.compact(collection)

    def copy(self, source: str, target: str, tenant: str, only: str = "") -> int:
        """Copy a tenant's rows with their vectors; return how many."""
        copied, batch = 0, []
        for row in self.scan(source, tenant, self._fields(source), only):
            batch.append(row)
            if len(batch) == _SCAN_ROWS:
                self.write_rows(target, batch)
                copied, batch = copied + len(batch), []
        self.write_rows(target, batch)
        return copied + len(batch)

    def count(self, collection: str, tenant: str, only: str = "") -> int:
        """Return how many rows a tenant has."""
        return sum(1 for _ in self.scan(collection, tenant, ["pk"], only))

    def tenants(self, collection: str) -> set[str]:
        """Return who has rows in a version."""
        return {str(row["tenant"]) for row in self._scan(collection, "pk != ''", ["tenant"])}

    def nearest(
        self, collection: str, tenant: str, vectors: Sequence[Sequence[float]], limit: int
    ) -> list[list[dict[str, Any]]]:
        """Return, for each vector, `doc`, `doc_hash` and `source` of the tenant's nearest passages, best first."""
        found: list[list[dict[str, Any]]] = []
        for start in range(0, len(vectors), _SEARCH_VECTORS):
            with milvus_errors():
                answers = self._client.search(
                    collection,
                    [list(vector) for vector in vectors[start : start + _SEARCH_VECTORS]],
                    anns_field=DENSE,
                    limit=limit,
                    filter=tenant_filter(tenant),
                    search_params={"metric_type": METRIC},
                    output_fields=["doc", "doc_hash", "source"],
                )
            found += [[dict(hit["entity"]) for hit in hits] for hits in answers]
        return found

    def _scan(self, collection: str, condition: str, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
        with milvus_errors():
            rows = self._client.query_iterator(
                collection, batch_size=_SCAN_ROWS, filter=condition, output_fields=list(fields)
            )
            try:
                while batch := rows.next():
                    yield from (dict(row) for row in batch)
            finally:
                rows.close()

    def _fields(self, collection: str) -> list[str]:
        with milvus_errors():
            described = self._client.describe_collection(collection)["fields"]
        return [field["name"] for field in described if field["name"] != SPARSE]


def expired_before(now_s: float | None = None) -> str:
    """Return the filter of rows whose time is over."""
    return f"expires_at > 0 and expires_at <= {int(time.time() if now_s is None else now_s)}"


def _batches(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), _LOOKUP_KEYS):
        yield items[start : start + _LOOKUP_KEYS]


def _listed(values: Sequence[str]) -> str:
    """Write hexadecimal hashes as a list of the filter language; nothing else may come here."""
    if not all(value and set(value) <= set("0123456789abcdef") for value in values):
        raise ValueError("only hexadecimal keys can be listed")
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
