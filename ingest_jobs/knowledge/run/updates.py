"""Applies changes of single documents to a collection, for the follower and for the replay before a switch.

A live update holds until the source's own content changes. The hash of the source content that it replaced is kept in
the rows' `origin` or, for a removed document, in a small file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from deployments.engines.milvus.expressions import check_tenant
from deployments.engines.milvus.schema import row_of
from deployments.engines.milvus.versions import VersionStore
from deployments.stores.change_log import DocumentChange
from ingest_jobs.knowledge.read.dataset import Dataset
from ingest_jobs.knowledge.read.documents import Document, Unreadable, subject_digest
from ingest_jobs.knowledge.read.formats.guard import refuse_script
from ingest_jobs.knowledge.read.formats.prose import headed_sections, markdown_blocks
from ingest_jobs.knowledge.read.stages import FROM_SOURCE, FROM_UPDATE, Chunk, Preparer, chunks_of, doc_key
from ingest_jobs.knowledge.run.pipeline import Encoder, JobPlan
from ingest_jobs.knowledge.store.blobs import Blobs, get_json, put_json
from ingest_jobs.knowledge.store.records import is_erased, removed_name, saved_dataset
from ingest_jobs.knowledge.store.rows import embed_rows, passage_of_row, row_of_chunk


class ChangeWriter:
    """Applies changes. Applying a change twice or to a second version is safe."""

    def __init__(self, plan: JobPlan, store: VersionStore, encoder: Encoder, blobs: Blobs) -> None:
        self._plan = plan
        self._store = store
        self._encoder = encoder
        self._blobs = blobs
        self._count = plan.count_tokens()

    def apply(self, collection: str, change: DocumentChange, dataset: Dataset) -> None:
        """Put or remove one document.

        Args:
            collection: the version to write to.
            change: the change to apply.
            dataset: determines how the tenant's documents are masked and cut.

        Raises:
            Unreadable: the document cannot be indexed, for the given reason. Nothing has changed.
        """
        doc = doc_key(change.doc_id)
        chunks = self._chunks(change, dataset) if change.kind == "put" else []
        fields = ["pk", "origin", "doc_hash"]
        present = list(self._store.rows.of_documents(collection, change.tenant, [doc], fields))
        base = self._base(present, change.tenant, doc)
        if chunks:
            rows = [{**row_of_chunk(chunk), "origin": f"{FROM_UPDATE}{base}"} for chunk in chunks]
            embedded = embed_rows(rows, self._encoder.encode)
            self._store.rows.write(collection, [row_of(passage_of_row(row)) for row in embedded])
        kept = {chunk.key for chunk in chunks}
        stale = [row["pk"] for row in present if row["pk"] not in kept]
        self._store.rows.delete_keys(collection, change.tenant, stale)
        name = removed_name(self._plan.alias, change.tenant, doc)
        if change.kind == "delete":
            put_json(self._blobs, name, {"base": base})
        else:
            self._blobs.delete(name)

    def _chunks(self, change: DocumentChange, dataset: Dataset) -> list[Chunk]:
        subject = subject_digest(change.tenant, change.subject)
        if subject and is_erased(self._blobs, change.tenant, subject):
            raise Unreadable("the person it is about was erased")
        refuse_script(f"{change.title} {change.text}")
        sections = headed_sections("", iter([("title", change.title or change.doc_id), *markdown_blocks(change.text)]))
        updated_at = change.updated_at[:10] or datetime.now(UTC).date().isoformat()
        document = Document(
            change.doc_id,
            change.doc_id,
            updated_at,
            tuple(sections),
            change.subject,
            change.expires_at[:10],
            _fields_of(change),
        )
        prepared = Preparer(dataset, change.tenant).prepare(document)
        return chunks_of(prepared, change.tenant, dataset.chunking, self._count, FROM_UPDATE)

    def _base(self, present: Iterable[dict[str, str]], tenant: str, doc: str) -> str:
        """Return the hash of the source content that the change replaces, or "" if no source has the document."""
        for row in present:
            if row["origin"].startswith(FROM_UPDATE):
                return row["origin"].removeprefix(FROM_UPDATE)
            if row["origin"] == FROM_SOURCE:
                return str(row["doc_hash"]).partition("/")[0]
        removed = get_json(self._blobs, removed_name(self._plan.alias, tenant, doc)) or {}
        return str(removed.get("base", ""))


def dataset_for(blobs: Blobs, alias: str, change: DocumentChange) -> Dataset:
    """Return the description by which the change's document is masked and cut.

    Raises:
        EngineError: its tenant is not a valid name. Arbitrary text from the stream must not become part of a path.
    """
    check_tenant(change.tenant)
    return saved_dataset(blobs, alias, change.tenant)


def _fields_of(change: DocumentChange) -> tuple[tuple[str, str], ...]:
    try:
        found = json.loads(change.fields or "{}")
        return tuple((str(name), str(value)) for name, value in found.items())
    except (json.JSONDecodeError, AttributeError) as error:
        raise Unreadable("its fields are not a JSON object") from error
