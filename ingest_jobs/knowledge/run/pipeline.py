"""The stages run by workers (read, embed, write), built from a plan in this process or in Ray's actors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from cluster.config.environment import process_environment, secret
from deployments.engines.milvus.schema import row_of
from deployments.engines.milvus.versions import VersionStore
from ingest_jobs.knowledge.read.chunking import CountTokens, count_words, token_counter
from ingest_jobs.knowledge.read.dataset import Dataset
from ingest_jobs.knowledge.read.documents import Refusal, Unit, Unreadable
from ingest_jobs.knowledge.read.reading import documents_of
from ingest_jobs.knowledge.read.stages import Chunk, Prepared, Preparer, chunks_of, doc_key
from ingest_jobs.knowledge.store.blobs import open_blobs
from ingest_jobs.knowledge.store.rows import (
    CHUNK,
    DOCUMENT,
    ERASED,
    EXPIRED,
    KEPT,
    OVERRIDDEN,
    REFUSED,
    UNIT,
    Row,
    embed_rows,
    outcome,
    passage_of_row,
    row_of_chunk,
    row_of_news,
)
from ingest_jobs.knowledge.store.staging import stage
from pipelines.errors import EngineError

T = TypeVar("T")
SCRIPTED_DIMENSIONS = 64
# If a restarted store comes back within this time the job continues. After that, the job must be resumed.
_STORE_PATIENCE_S = 90
_LOOKUP_CHUNKS = 256


class Encoder(Protocol):
    """Turns texts into unit vectors. Blocking; called from one thread at a time."""

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return one L2-normalised vector per text."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What a worker needs to know. Plain data: it is sent to other processes.

    Attributes:
        collection: the collection to write to.
        lookup: whether the collection may already hold some of the chunks, because the run was resumed.
        erased: digests of persons who must not come back.
        overrides: documents that a live update changed or removed, with the hash of the source content it replaced. The
            update holds as long as the source's content is unchanged.
        staging, staged_as: object store in which the writing stage leaves batches for a bulk import, and the prefix of
            their names; "" writes rows to the collection.
        now_s: time by which documents count as expired, in seconds since 1970.
    """

    dataset: Dataset
    tenant: str
    milvus_uri: str
    alias: str
    model_dir: Path
    token_env: str = ""
    collection: str = ""
    lookup: bool = False
    erased: frozenset[str] = frozenset()
    overrides: Mapping[str, str] = field(default_factory=dict)
    now_s: float = 0.0
    staging: str = ""
    staged_as: str = ""

    def open_store(self) -> VersionStore:
        """Connect to Milvus. The credential is read here, so that it is not part of a plan."""
        token = secret(process_environment(), self.token_env, needed_by="services.milvus.token_env")
        return VersionStore(self.milvus_uri, self.alias, token=token)

    def open_encoder(self) -> Encoder:
        """Load the encoder."""
        rule = self.dataset.embedding
        if rule.engine == "scripted":
            from deployments.engines.scripted.encoder import ScriptedEncoder

            return ScriptedEncoder(SCRIPTED_DIMENSIONS)
        from deployments.engines.embedding.embedder import SentenceEncoder

        return SentenceEncoder(self.model_dir, rule.threads)

    def count_tokens(self) -> CountTokens:
        """Return the function that measures passages."""
        return count_words if self.dataset.embedding.engine == "scripted" else token_counter(self.model_dir)


def patiently(work: Callable[[], T], patience_s: float = _STORE_PATIENCE_S) -> T:
    """Do `work`, retrying while a store is unreachable. If it stays so, raise the last error."""
    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, EngineError) and error.retryable),
        stop=stop_after_delay(patience_s),
        wait=wait_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    return retrying(work)


def yield_cpu(niceness: int) -> None:
    """Give calls priority on the CPU, so that this process takes only what they leave."""
    missing = niceness - os.nice(0)
    if missing > 0:
        os.nice(missing)


class LazyEncoder:
    """The plan's encoder, loaded on demand because most incremental runs have nothing to embed.

    It lives in a separate thread, so that it can load while its user waits for files and stores.
    """

    def __init__(self, plan: JobPlan) -> None:
        self._plan = plan
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._loading: Future[Encoder] | None = None

    def expect(self) -> None:
        """Begin to load, without waiting. Does nothing on successive calls."""
        if self._loading is None:
            self._loading = self._thread.submit(self._plan.open_encoder)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return one L2-normalised vector per text.

        Raises: what loading raised.
        """
        self.expect()
        assert self._loading is not None
        encoder = self._loading.result()
        return self._thread.submit(encoder.encode, texts).result()


class ReadUnits:
    """Turns units into rows, both for their chunks and for what was refused."""

    def __init__(self, plan: JobPlan) -> None:
        self._plan = plan
        self._preparer = Preparer(plan.dataset, plan.tenant)
        self._count = plan.count_tokens()
        self._store = plan.open_store() if plan.lookup else None

    def rows(self, unit: Unit) -> Iterator[Row]:
        """Yield the rows of one unit, the row of kind `unit` last."""
        waiting: list[Chunk] = []
        for item in self.prepared(unit):
            if isinstance(item, Prepared):
                doc = doc_key(item.document.doc_id)
                yield {**row_of_news(DOCUMENT, str(item.masked), doc), "chunk_hash": item.doc_hash}
                waiting += self.cut(item)
            else:
                yield item
            if len(waiting) >= _LOOKUP_CHUNKS:
                yield from self._flushed(waiting)
                waiting = []
        yield from self._flushed(waiting)
        yield row_of_news(UNIT)

    def prepared(self, unit: Unit) -> Iterator[Prepared | Row]:
        """Yield the documents of a unit that should be indexed, and a row of news for each that should not."""
        for document in documents_of(unit, self._plan.dataset):
            if isinstance(document, Refusal):
                yield row_of_news(REFUSED, document.reason)
                continue
            try:
                prepared = self._preparer.prepare(document)
            except Unreadable as reason:
                yield row_of_news(REFUSED, f"{document.doc_id}: {reason}")
                continue
            kind = self._reason_to_leave_out(prepared)
            yield row_of_news(kind) if kind else prepared

    def cut(self, prepared: Prepared) -> list[Chunk]:
        """Return the chunks of a document."""
        return chunks_of(prepared, self._plan.tenant, self._plan.dataset.chunking, self._count)

    def _reason_to_leave_out(self, prepared: Prepared) -> str:
        if prepared.subject in self._plan.erased:
            return ERASED
        if 0 < prepared.expires_at <= self._plan.now_s:
            return EXPIRED
        base = self._plan.overrides.get(doc_key(prepared.document.doc_id))
        return OVERRIDDEN if base == prepared.doc_hash else ""

    def _flushed(self, chunks: Sequence[Chunk]) -> Iterator[Row]:
        present: dict[str, str] = {}
        if self._store is not None and chunks:
            store, keys = self._store, [chunk.key for chunk in chunks]
            present = patiently(lambda: store.rows.hashes(self._plan.collection, self._plan.tenant, keys))
        for chunk in chunks:
            yield row_of_chunk(chunk, KEPT if present.get(chunk.key) == chunk.chunk_hash else CHUNK)


class WriteRows:
    """Turns embedded rows into outcomes, once the store has taken them."""

    def __init__(self, plan: JobPlan) -> None:
        self._collection = plan.collection
        self._store = patiently(plan.open_store)
        self._staging = (open_blobs(plan.staging), plan.staged_as) if plan.staged_as else None

    def outcomes(self, rows: Sequence[Row]) -> list[Row]:
        """Write the rows of kind `chunk`. Keys are deterministic, so writing a batch again changes nothing."""
        passages = [passage_of_row(row) for row in rows if row["kind"] == CHUNK]
        if passages and self._staging is not None:
            blobs, prefix = self._staging
            patiently(lambda: stage(blobs, prefix, passages))
        elif passages:
            patiently(lambda: self._store.rows.write(self._collection, [row_of(passage) for passage in passages]))
        return [outcome(row) for row in rows]


def run_in_process(plan: JobPlan, units: Iterator[Unit], encoder: Encoder) -> Iterator[list[Row]]:
    """Run all stages here and yield the outcomes batch by batch."""
    reader, writer = ReadUnits(plan), WriteRows(plan)
    batch: list[Row] = []
    for unit in units:
        for row in reader.rows(unit):
            batch.append(row)
            if len(batch) >= plan.dataset.embedding.batch_rows:
                yield writer.outcomes(embed_rows(batch, encoder.encode))
                batch = []
    if batch:
        yield writer.outcomes(embed_rows(batch, encoder.encode))


def now_s() -> float:
    """Return the time in seconds since 1970."""
    return time.time()
