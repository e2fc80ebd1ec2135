"""An incremental run: embeds only what has changed, and edits the live version document by document.

Before the first edit, the rows to be touched are saved and the run is recorded in the tenant's history as open. If the
run dies, the next one first undoes it. Searches between two edits see some documents in the old and some in the new
form; a document's new rows are written before the old ones are deleted. Afterwards the version must still find what it
found before, as well as the golden questions; otherwise the edits are undone. By then callers may have heard them for
seconds. Building a version aside would avoid that, but copies every row for a few changed documents.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from deployments.engines.milvus.expressions import from_origin
from deployments.engines.milvus.schema import row_of
from deployments.engines.milvus.versions import HistoryEntry
from ingest_jobs.knowledge.read.sources import all_units
from ingest_jobs.knowledge.read.stages import FROM_SOURCE, Prepared, doc_key
from ingest_jobs.knowledge.run.job import Job
from ingest_jobs.knowledge.run.journal import Journal
from ingest_jobs.knowledge.run.pipeline import ReadUnits, now_s
from ingest_jobs.knowledge.run.quality import GateFailed, check_edit, check_removals, probes_of_unchanged
from ingest_jobs.knowledge.run.rollback import INCREMENTAL, OPEN, take_back
from ingest_jobs.knowledge.store.rows import (
    DOCUMENT,
    Row,
    embed_rows,
    outcome,
    passage_of_row,
    row_of_chunk,
    row_of_news,
)
from ingest_jobs.knowledge.store.undo import undo_name, write_undo
from pipelines.errors import Component, EngineError

# If more than this share of the documents has changed, a new version is built, which can be checked before going live.
MAX_CHANGED_SHARE = 0.3
_EDIT_DOCS = 256


@dataclass(slots=True)
class Difference:
    """The differences between the sources and the live version, in both directions, as the `doc` of each document.

    `chunks` is a file with the changed documents' rows, one JSON line each. Names of documents are kept for dry runs.
    """

    chunks: IO[str]
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    is_new: set[str] = field(default_factory=set)

    def rows(self, size: int) -> Iterator[list[Row]]:
        """Yield the changed documents' rows in batches."""
        self.chunks.seek(0)
        batch: list[Row] = []
        for line in self.chunks:
            batch.append(json.loads(line))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


@contextmanager
def difference(job: Job, journal: Journal, live: str) -> Iterator[Difference]:
    """Compare all documents of the sources with the live version, by the hash of their content."""
    rows = job.store.rows.scan(live, job.tenant, ["doc", "doc_hash"], from_origin(FROM_SOURCE))
    journal.add_live_rows((row["doc"], row["doc_hash"]) for row in rows)
    job.reporter.documents_expected = journal.live_count()
    reader = ReadUnits(job.plan)
    with tempfile.TemporaryFile("w+", encoding="utf-8", prefix="voxray-changes-") as spool:
        found = Difference(spool)
        for unit in all_units(job.dataset):
            for item in reader.prepared(unit):
                if isinstance(item, Prepared):
                    _compare(job, journal, found, reader, item)
                else:
                    job.reporter.count([item])
            job.reporter.report.units += 1
        found.removed = list(journal.unseen_live())
        yield found


def _compare(job: Job, journal: Journal, found: Difference, reader: ReadUnits, prepared: Prepared) -> None:
    doc = doc_key(prepared.document.doc_id)
    if not journal.see(doc, prepared.doc_hash):
        job.reporter.report.duplicates += 1
        return
    job.reporter.count([row_of_news(DOCUMENT, str(prepared.masked), doc)])
    known = journal.live_hash(doc)
    if known == prepared.doc_hash:
        return
    found.changed.append(doc)
    found.names[doc] = prepared.document.doc_id
    if known is None:
        found.is_new.add(doc)
    for chunk in reader.cut(prepared):
        found.chunks.write(json.dumps(row_of_chunk(chunk)) + "\n")


def run_incremental(job: Job, journal: Journal, live: str) -> bool:
    """Bring the live version up to date, or do nothing and return False if a full run is better.

    Raises:
        GateFailed: too much was set aside and nothing was done, or the edited version no longer finds what it found
            before and the edits were undone.
        EngineError: a store failed. The next run undoes the unfinished edits.
    """
    report = job.reporter.report
    _take_back_open(job, live)
    job.reporter.phase("comparing")
    with difference(job, journal, live) as found:
        job.check_refusals()
        touched = len(found.changed) + len(found.removed)
        if touched > MAX_CHANGED_SHARE * max(1, journal.live_count()) or journal.seen_count() == 0:
            return False
        report.mode, report.collection = ("incremental" if touched else "unchanged"), live
        report.changed, report.removed = len(found.changed), len(found.removed)
        if touched:
            check_removals(job.dataset.quality, journal.seen_count(), journal.live_count())
            job.reporter.phase("embedding")
            _edit(job, journal, live, found)
    return True


def _edit(job: Job, journal: Journal, live: str, found: Difference) -> None:
    store, tenant, report = job.store, job.tenant, job.reporter.report
    touched = [*found.changed, *found.removed]
    if found.changed:
        job.expect_encoder()
    name = undo_name(store.alias, tenant, report.job)
    write_undo(job.blobs, name, store.rows.of_documents(live, tenant, touched), touched)
    history, gate = store.history(live, tenant), job.dataset.quality
    probes = probes_of_unchanged(store, live, journal, tenant=tenant, limit=gate.probes)
    opened = HistoryEntry(OPEN, report.job, now_s(), undo=name)
    store.set_history(live, tenant, [*history, opened])
    with job.switching():
        for rows in found.rows(job.dataset.embedding.batch_rows):
            embedded = embed_rows(rows, job.encoder().encode)
            store.rows.write(live, [row_of(passage_of_row(row)) for row in embedded])
            journal.want((row["key"], row["chunk_hash"]) for row in rows)
            job.reporter.count([outcome(row) for row in rows])
        _delete_rest(job, journal, live, touched)
    job.reporter.phase("checking")
    fresh = store.rows.of_documents(live, tenant, found.changed, ["pk", "chunk_hash"], from_origin(FROM_SOURCE))
    journal.find((row["pk"], row["chunk_hash"]) for row in fresh)
    if missing := journal.missing():
        raise EngineError(Component.INGEST, f"the store lacks {missing} chunks that it had taken", retryable=True)
    store.seal(live, tenant)
    try:
        report.gate = check_edit(gate, store, live, probes, tenant=tenant, encoder=job.encoder)
    except GateFailed:
        job.reporter.phase("taking back")
        _take_back(job, live, opened, history)
        raise
    store.set_history(live, tenant, [*history, HistoryEntry(INCREMENTAL, report.job, now_s(), undo=name)])


def _delete_rest(job: Job, journal: Journal, live: str, touched: list[str]) -> None:
    for docs in _groups(touched):
        # This includes rows of live updates, because the source has newer content.
        rows = job.store.rows.of_documents(live, job.tenant, docs, ["pk"])
        stale = [row["pk"] for row in rows if not journal.is_wanted(row["pk"])]
        job.store.rows.delete_keys(live, job.tenant, stale)


def _groups(docs: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(docs), _EDIT_DOCS):
        yield docs[start : start + _EDIT_DOCS]


def _take_back_open(job: Job, live: str) -> None:
    """Undo a run that began but did not end, so that a rollback leads to a consistent state."""
    history = job.store.history(live, job.tenant)
    if history and history[-1].kind == OPEN:
        _take_back(job, live, history[-1], history[:-1])


def _take_back(job: Job, live: str, entry: HistoryEntry, history: list[HistoryEntry]) -> None:
    with job.switching():
        take_back(job.store, job.blobs, live, job.tenant, entry)
    job.store.set_history(live, job.tenant, history)
    job.store.seal(live, job.tenant)
