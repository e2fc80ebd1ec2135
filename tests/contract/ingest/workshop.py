"""A folder of documents, the stores around it, and the job run on it here, with an encoder without a model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.engines.milvus.versions import VersionStore
from deployments.engines.scripted.encoder import ScriptedEncoder
from ingest_jobs.knowledge.run.job import ReindexRequest
from ingest_jobs.knowledge.run.reindex import reindex_in_process
from ingest_jobs.knowledge.run.reporting import Report
from ingest_jobs.knowledge.store.blobs import Blobs, open_blobs

HEADER = "embedding: {engine: scripted, batch_rows: 16}\nmasking: {kinds: []}\nplacement: {niceness: 0}\n"
TABLE = "tables: {people.jsonl: {title: '{name}', id: id, subject: person, sentences: [{say: '{text}'}]}}\n"


@dataclass(slots=True)
class CountingEncoder:
    """Counts the texts that were embedded, and may do something at a chosen one."""

    inner: ScriptedEncoder = field(default_factory=ScriptedEncoder)
    texts: int = 0
    at: dict[int, Any] = field(default_factory=dict)

    def encode(self, texts: list[str]) -> Any:
        before, self.texts = self.texts, self.texts + len(texts)
        for number in [n for n in self.at if before <= n < self.texts]:
            self.at.pop(number)()
        return self.inner.encode(texts)


@dataclass(slots=True)
class Workshop:
    """One alias on shared servers. `tenant` may be changed between runs."""

    root: Path
    uri: str
    alias: str
    redis_url: str = ""
    tenant: str = "default"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def blobs(self) -> Blobs:
        return open_blobs(str(self.objects))

    def folder(self, tenant: str = "") -> Path:
        path = self.root / "data" / (tenant or self.tenant)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def describe(self, more: str = "") -> None:
        (self.folder() / "dataset.yaml").write_text(HEADER + more)

    def write(self, name: str, text: str) -> None:
        path = self.folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def write_notes(self, count: int, *, start: int = 0, say: str = "costs") -> None:
        for number in range(start, start + count):
            self.write(f"note{number:04}.md", note(number, say))

    def write_people(self, people: list[tuple[str, str, str]]) -> None:
        rows = [{"id": key, "name": f"Letter {key}", "person": who, "text": text} for key, who, text in people]
        self.write("people.jsonl", "\n".join(json.dumps(row) for row in rows))

    def request(self, **changes: Any) -> ReindexRequest:
        if not (self.folder() / "dataset.yaml").exists():
            self.describe()
        given = {
            "source": self.folder(),
            "milvus_uri": self.uri,
            "alias": self.alias,
            "model_dir": self.root / "no-model",
            "tenant": self.tenant,
            "objects_url": str(self.objects),
            "redis_url": self.redis_url,
            **changes,
        }
        return ReindexRequest(**given)

    def run(self, encoder: CountingEncoder | None = None, **changes: Any) -> Report:
        return reindex_in_process(self.request(**changes), encoder or CountingEncoder())

    def store(self) -> VersionStore:
        return VersionStore(self.uri, self.alias)

    def rows(self, collection: str = "", tenant: str = "") -> dict[str, dict[str, Any]]:
        """Return the tenant's rows of a version (default: the live one) by key, vectors and all."""
        store = self.store()
        try:
            name = collection or store.live_collection()
            assert name is not None
            store.load(name)
            fields = ["pk", "doc_id", "doc_hash", "chunk_hash", "title", "text", "subject", "origin", "dense"]
            found = store.rows.scan(name, tenant or self.tenant, [*fields, "sentence_vectors"])
            return {row["pk"]: {**row, "dense": tuple(row["dense"])} for row in found}
        finally:
            store.close()

    def texts(self, tenant: str = "") -> set[str]:
        return {row["text"] for row in self.rows(tenant=tenant).values()}

    def docs(self) -> set[str]:
        return {row["doc_id"] for row in self.rows().values()}


def note(number: int, say: str = "costs") -> str:
    """Return a document of two sections."""
    return (
        f"# Note {number}\n\n## Price\nItem {number} {say} {number * 7} dollars.\n\n"
        f"## Size\nIt is {number % 13} inches wide. Ask for colour {number % 5}.\n"
    )
