"""A Milvus without a server, behind the product's own stores; and a job on it, with a folder and scripted vectors."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusClient

from deployments.engines.milvus import versions
from deployments.engines.milvus.fields import FIELD_DEFAULTS
from deployments.engines.milvus.schema import DENSE, LEDGER_DEFAULTS, SENTENCES, SPARSE, STORED_FIELDS
from deployments.engines.milvus.versions import Building, VersionStore
from deployments.engines.scripted.encoder import ScriptedEncoder
from ingest_jobs.knowledge.read.documents import Unit
from ingest_jobs.knowledge.read.stages import FROM_SOURCE, doc_key
from ingest_jobs.knowledge.run.job import Job, ReindexRequest, RunStages
from ingest_jobs.knowledge.run.pipeline import JobPlan, run_in_process
from ingest_jobs.knowledge.run.reindex import open_job
from ingest_jobs.knowledge.store.rows import Row

HEADER = "embedding: {engine: scripted, batch_rows: 4}\nmasking: {kinds: []}\nplacement: {niceness: 0}\n"
DIMENSIONS = 64
Table = dict[str, dict[str, Any]]


@dataclass(slots=True)
class _Collection:
    columns: list[str]
    properties: dict[str, str] = field(default_factory=dict)
    rows: Table = field(default_factory=dict)
    is_loaded: bool = False


class MemoryMilvus:
    """What the product uses of `pymilvus.MilvusClient`. Filters are evaluated: they are Python's expressions too.

    Attributes:
        loses: keys of rows that it takes without keeping them, as a crash would; each is lost once.
    """

    prepare_index_params = staticmethod(MilvusClient.prepare_index_params)

    def __init__(self) -> None:
        self.collections: dict[str, _Collection] = {}
        self.aliases: dict[str, str] = {}
        self.loses: list[str] = []

    def close(self) -> None:
        """Keep everything: it is the server, too."""

    def get_server_version(self) -> str:
        return "2.5-lite"

    def list_collections(self) -> list[str]:
        return list(self.collections)

    def has_collection(self, name: str) -> bool:
        return name in self.collections

    def create_collection(self, name: str, *, schema: Any, index_params: Any, num_partitions: int) -> None:
        assert name not in self.collections
        assert index_params
        assert num_partitions
        self.collections[name] = _Collection([each.name for each in schema.fields])

    def drop_collection(self, name: str) -> None:
        assert name not in self.aliases.values()
        del self.collections[name]

    def describe_collection(self, name: str) -> dict[str, Any]:
        found = self.collections[name]
        return {"fields": [{"name": column} for column in found.columns], "properties": dict(found.properties)}

    def alter_collection_properties(self, name: str, properties: Mapping[str, str]) -> None:
        self.collections[name].properties |= properties

    def list_aliases(self, name: str) -> dict[str, list[str]]:
        return {"aliases": [alias for alias, target in self.aliases.items() if target == name]}

    def create_alias(self, name: str, alias: str) -> None:
        assert alias not in self.aliases
        self.aliases[alias] = name

    def alter_alias(self, name: str, alias: str) -> None:
        assert alias in self.aliases
        self.aliases[alias] = name

    def load_collection(self, name: str) -> None:
        self.collections[name].is_loaded = True

    def flush(self, name: str) -> None:
        assert name in self.collections

    def upsert(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        found = self.collections[name]
        for row in rows:
            assert set(row) == set(found.columns) - {SPARSE}
            if row["pk"] in self.loses:
                self.loses.remove(row["pk"])
            else:
                found.rows[row["pk"]] = copy.deepcopy(dict(row))

    def delete(self, name: str, *, filter: str) -> None:
        for row in self._matching(name, filter):
            del self.collections[name].rows[row["pk"]]

    def query(self, name: str, *, filter: str, output_fields: Sequence[str]) -> list[dict[str, Any]]:
        rows = self._matching(name, filter)
        return [{"count(*)": len(rows)}] if list(output_fields) == ["count(*)"] else _chosen(rows, output_fields)

    def query_iterator(self, name: str, *, batch_size: int, filter: str, output_fields: Sequence[str]) -> Any:
        rows = _chosen(self._matching(name, filter), output_fields)
        batches = iter([rows[at : at + batch_size] for at in range(0, len(rows), batch_size)])
        return SimpleNamespace(next=lambda: next(batches, []), close=lambda: None)

    def search(self, name: str, data: Sequence[Any], *, anns_field: str, **asked: Any) -> list[list[dict[str, Any]]]:
        rows = self._matching(name, asked["filter"])
        if anns_field == SPARSE:
            return [[] for _ in data]
        ranked = [sorted(rows, key=lambda row: -float(np.dot(vector, row[DENSE])))[: asked["limit"]] for vector in data]
        return [[{"entity": row} for row in _chosen(best, asked["output_fields"])] for best in ranked]

    def _matching(self, name: str, expression: str) -> list[dict[str, Any]]:
        found = self.collections[name]
        assert found.is_loaded, f"{name} is not loaded"
        return [row for row in found.rows.values() if eval(expression, {"__builtins__": {}}, row)]


def _chosen(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    return [copy.deepcopy({column: row[column] for column in columns}) for row in rows]


def row(doc_id: str, text: str, *, tenant: str = "default", origin: str = FROM_SOURCE, part: int = 0) -> dict[str, Any]:
    """Return a whole row of a document; its key follows from tenant, document and part."""
    return {
        **dict.fromkeys(STORED_FIELDS, ""),
        **LEDGER_DEFAULTS,
        **FIELD_DEFAULTS,
        "pk": doc_key(f"{tenant} {doc_id} {part}"),
        "tenant": tenant,
        "text": text,
        "source": doc_id,
        "doc": doc_key(doc_id),
        "doc_id": doc_id,
        "doc_hash": f"{doc_key(text)}/1",
        "origin": origin,
        "terms": text,
        SENTENCES: "",
        DENSE: ScriptedEncoder(DIMENSIONS).encode([text])[0].tolist(),
    }


@dataclass(slots=True)
class Bench:
    """One alias on a Milvus in memory, and a folder of documents for jobs on it."""

    root: Path
    milvus: MemoryMilvus
    alias: str = "knowledge"
    tenant: str = "default"
    encoder: ScriptedEncoder = field(default_factory=lambda: ScriptedEncoder(DIMENSIONS))

    def write(self, name: str, text: str) -> None:
        folder = self.root / "data" / self.tenant
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def remove(self, name: str) -> None:
        (self.root / "data" / self.tenant / name).unlink()

    def open_job(self, run_stages: RunStages | None = None, *, more: str = "", **changes: Any) -> Job:
        """Open a job on the tenant's folder; `more` of its description, `changes` of the request."""
        self.write("dataset.yaml", HEADER + more)
        request = ReindexRequest(
            source=self.root / "data" / self.tenant,
            milvus_uri="memory",
            alias=self.alias,
            model_dir=self.root,
            tenant=self.tenant,
            objects_url=str(self.root / "objects"),
            **changes,
        )
        return open_job(request, run_stages or self.run_here, encoder=self.encoder)

    def run_here(self, plan: JobPlan, units: Iterator[Unit]) -> Iterator[list[Row]]:
        return run_in_process(plan, units, self.encoder)

    def store(self) -> VersionStore:
        return VersionStore("memory", self.alias)

    def version(self, rows: Sequence[dict[str, Any]], tenant: str = "default") -> str:
        """Make a version of these rows and of other tenants' live ones, live at once."""
        store = self.store()
        name = store.begin(Building(tenant, "print", "job", 0.0), DIMENSIONS)
        store.rows.write(name, rows)
        store.seal(name, tenant)
        store.switch(name)
        return name

    def rows(self, version: str = "", tenant: str = "") -> Table:
        """Return the rows of a version, of the live one where none is named, by key."""
        found = self.milvus.collections[version or self.milvus.aliases[self.alias]].rows
        return {key: row for key, row in found.items() if tenant in {"", row["tenant"]}}

    def texts(self, version: str = "", tenant: str = "") -> set[str]:
        return {each["text"] for each in self.rows(version, tenant).values()}


def bench_on(monkeypatch: pytest.MonkeyPatch, root: Path) -> Bench:
    """Put a Milvus in memory in the place of every client; versions get names in order, however fast they come."""
    milvus, clock_ms = MemoryMilvus(), count(1_700_000_000_000)
    monkeypatch.setattr(versions, "MilvusClient", lambda *_args, **_settings: milvus)
    monkeypatch.setattr(versions, "time", SimpleNamespace(time_ns=lambda: next(clock_ms) * 1_000_000))
    return Bench(root, milvus)
