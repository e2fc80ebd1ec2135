"""The writing side of the vector store: builds versions of an alias, makes one live, and rolls back.

A version is a collection; the alias names the live one. A new version is built beside it, sealed (flushed, loaded and
searched once: milvus-lite answers 50 times slower from rows that are not flushed), and then the alias is moved in one
step. The rows themselves are read and written by `VersionStore.rows`.

Facts about a collection are stored as its properties, so that no separate record can disagree with it:

    voxray.fingerprint.TENANT   print of the description that the tenant's rows were made by
    voxray.building             who builds it and since when; a version with this and without the alias is unfinished
    voxray.history.TENANT       what changed the tenant's rows, newest last: how to go back
    voxray.fields.TENANT        which fields of the tenant's data lie in which columns (fields.py)

Tenants share an alias, and a version holds the rows of all of them. Every operation for one tenant either works under
its filter or carries the other tenants' rows over unchanged.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pymilvus import MilvusClient

from cluster.services.milvus_grpc import GRPC_OPTIONS
from deployments.engines.milvus.errors import milvus_errors
from deployments.engines.milvus.expressions import of_tenant
from deployments.engines.milvus.fields import FIELDS_PROPERTY, Field, as_property, of_property
from deployments.engines.milvus.index_plan import index_plan
from deployments.engines.milvus.rows import StoredRows
from deployments.engines.milvus.schema import SPARSE, indexes_of, schema_of

_BUILDING = "voxray.building"
_HISTORY = "voxray.history."
_FINGERPRINT = "voxray.fingerprint."
_OF_TENANTS = (_FINGERPRINT, _HISTORY, FIELDS_PROPERTY)
_MAX_HISTORY = 8


@dataclass(frozen=True, slots=True)
class Building:
    """Who is building a version.

    Attributes:
        tenant: the tenant whose rows are built.
        content_print: print of the dataset's description.
        job: id of the job that began the version; another job may finish it.
        started_s: seconds since 1970.
        change_id: position in the change log just before the sources were read.
    """

    tenant: str
    content_print: str
    job: str
    started_s: float
    change_id: str = ""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change to a tenant's rows.

    A "full" one is undone by `previous`, and an "incremental" one by the file `undo`.
    """

    kind: str
    job: str
    at_s: float
    previous: str = ""
    undo: str = ""


class VersionStore:
    """Manages the versions of an alias and moves the alias. It blocks: for jobs, not for the event loop.

    Args:
        uri: address of a Milvus or milvus-lite server.
        alias: name of the live version; versions are called `<alias>_v<milliseconds>`.
        token: credential, "" for none.
    """

    def __init__(self, uri: str, alias: str, *, token: str = "") -> None:
        self.alias = alias
        with milvus_errors():
            self._client = MilvusClient(uri, token=token, grpc_options=GRPC_OPTIONS)
        self.rows = StoredRows(self._client)

    def close(self) -> None:
        """Close the connection. Does nothing on successive calls."""
        self._client.close()

    def can_import(self) -> bool:
        """Return whether the server has a bulk import (`bulk.py`); milvus-lite has none."""
        return not self._is_lite()

    # --- reading the state of versions --------------------------------------------------------------------------------

    def versions(self) -> list[str]:
        """Return all versions of the alias, oldest first."""
        pattern = re.compile(re.escape(self.alias) + r"_v\d{13}")
        with milvus_errors():
            return sorted(name for name in self._client.list_collections() if pattern.fullmatch(name))

    def live_collection(self) -> str | None:
        """Return the version behind the alias, or None before the first index."""
        for name in self.versions():
            with milvus_errors():
                if self.alias in self._client.list_aliases(name).get("aliases", []):
                    return name
        return None

    def unfinished(self) -> dict[str, Building]:
        """Return the versions that were begun and never went live."""
        live = self.live_collection() or ""
        found: dict[str, Building] = {}
        for name in self.versions():
            mark = self._properties(name).get(_BUILDING, "")
            if mark and name > live:
                found[name] = Building(**json.loads(mark))
        return found

    def fingerprint(self, collection: str, tenant: str) -> str:
        """Return the print of the description that made the tenant's rows in a version; "" when it has none."""
        return self._properties(collection).get(f"{_FINGERPRINT}{tenant}", "")

    def fields(self, collection: str, tenant: str) -> dict[str, Field]:
        """Return the fields by which a tenant's rows in a version can be filtered."""
        return of_property(self._properties(collection).get(FIELDS_PROPERTY + tenant, ""))

    def tenants_with_history(self, collection: str) -> set[str]:
        """Return the tenants whose changes a version remembers."""
        return {key.removeprefix(_HISTORY) for key in self._properties(collection) if key.startswith(_HISTORY)}

    def history(self, collection: str, tenant: str) -> list[HistoryEntry]:
        """Return the changes to a tenant's rows in a version, newest last."""
        entries = json.loads(self._properties(collection).get(_HISTORY + tenant, "[]"))
        return [HistoryEntry(**entry) for entry in entries]

    def set_history(self, collection: str, tenant: str, entries: Sequence[HistoryEntry]) -> None:
        """Replace a tenant's history in a version, dropping the oldest entries beyond the limit."""
        kept = [asdict(entry) for entry in entries[-_MAX_HISTORY:]]
        self._set_properties(collection, {_HISTORY + tenant: json.dumps(kept)})

    # --- building a version -------------------------------------------------------------------------------------------

    def begin(
        self, building: Building, dimensions: int, *, expected_rows: int = 0, fields: Mapping[str, Field] | None = None
    ) -> str:
        """Create the next version with the other tenants' rows in it; return its name.

        Args:
            building: the tenant whose rows are built, and the job that builds them.
            dimensions: of the vectors.
            expected_rows: approximate number of rows the tenant will have. Together with the other tenants' rows it
                decides the index.
            fields: what searches may filter the tenant's rows by; None: what the live version says.
        """
        live = self.live_collection()
        name = f"{self.alias}_v{time.time_ns() // 1_000_000}"
        plan = index_plan(self._rows_to_plan_for(live, building.tenant, expected_rows), is_lite=self._is_lite())
        with milvus_errors():
            self._client.create_collection(
                name,
                schema=schema_of(dimensions),
                index_params=indexes_of(plan, self._client),
                num_partitions=plan.partitions,
            )
        properties: dict[str, str] = {}
        if live is not None:
            self.rows.copy_others(live, name, building.tenant)
            properties = {k: v for k, v in self._properties(live).items() if k.startswith(_OF_TENANTS)}
        properties[_FINGERPRINT + building.tenant] = building.content_print
        if fields is not None:
            properties[FIELDS_PROPERTY + building.tenant] = as_property(fields)
        # The mark is written last and in one step. A version without it lacks other tenants' rows and is never resumed.
        properties[_BUILDING] = json.dumps(asdict(building))
        self._set_properties(name, properties)
        return name

    def load(self, collection: str) -> None:
        """Make a version searchable if it is not. A restarted embedded server has released all versions."""
        with milvus_errors():
            self._client.load_collection(collection)

    def seal(self, collection: str, tenant: str) -> int:
        """Flush, load and warm a written version; return how many rows the tenant has in it."""
        with milvus_errors():
            # The collection is not released before the load: milvus-lite builds the index in a thread after a flush,
            # and a reload at that moment would read a half-written file ("file seems not fully written").
            self._client.flush(collection)
            self._client.load_collection(collection)
        counted = self.rows.count(collection, tenant)
        with milvus_errors():
            self._client.search(
                collection,
                ["warm"],
                anns_field=SPARSE,
                limit=1,
                filter=of_tenant(tenant),
                search_params={"metric_type": "BM25"},
            )
        return counted

    # --- going live, and removal --------------------------------------------------------------------------------------

    def switch(self, collection: str) -> None:
        """Point the alias at `collection` in one step. The previous version stays as it is."""
        has_live = self.live_collection() is not None
        with milvus_errors():
            if has_live:
                self._client.alter_alias(collection, self.alias)
            else:
                self._client.create_alias(collection, self.alias)
        self._set_properties(collection, {_BUILDING: ""})

    def prune(self) -> list[str]:
        """Drop versions that are not live, not being built and not needed for a rollback; return their names."""
        live = self.live_collection()
        needed = {live, *self.unfinished()}
        if live is not None:
            for tenant in self.tenants_with_history(live):
                fulls = [entry for entry in self.history(live, tenant) if entry.kind == "full"]
                needed |= {entry.previous for entry in fulls[-1:]}
        stale = [name for name in self.versions() if name not in needed]
        for name in stale:
            self.drop_collection(name)
        return stale

    def drop_collection(self, collection: str) -> None:
        """Drop a version that never went live. Does nothing if it no longer exists."""
        with milvus_errors():
            if self._client.has_collection(collection):
                self._client.drop_collection(collection)

    def _rows_to_plan_for(self, live: str | None, tenant: str, expected_rows: int) -> int:
        """Return how many rows a new version will have, which is at least as many as are live."""
        if live is None:
            return expected_rows
        total = self.rows.total(live)
        others = total - self.rows.count(live, tenant) if expected_rows else 0
        return max(expected_rows + others, total)

    def _is_lite(self) -> bool:
        """Return whether the server is milvus-lite, which has fewer kinds of index and no bulk import."""
        with milvus_errors():
            return "lite" in self._client.get_server_version().lower()

    def _properties(self, collection: str) -> dict[str, str]:
        with milvus_errors():
            described = self._client.describe_collection(collection)
        return dict(described.get("properties", {}))

    def _set_properties(self, collection: str, values: Mapping[str, str]) -> None:
        """Set properties of a collection and leave the others."""
        with milvus_errors():
            self._client.alter_collection_properties(collection, dict(values))
