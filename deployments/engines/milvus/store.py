"""Collections of business data in Milvus: how they are built, made live and found again.

An alias names the live collection. A reindex builds a new collection beside it, seals it (flush, load, one warm
search: milvus-lite answers 50 times slower from rows that are not flushed) and then moves the alias in one step. Each
collection remembers, per tenant, the fingerprint of the data it was built from.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, Function, FunctionType, MilvusClient, MilvusException

from cluster.services.milvus_grpc import GRPC_OPTIONS
from deployments.engines.milvus.fields import FIELD_DEFAULTS, MAX_TEXT_BYTES, NUMBER_COLUMNS, TEXT_COLUMNS
from deployments.engines.milvus.index_plan import METRIC, IndexPlan, index_plan
from pipelines.errors import Component, EngineError
from pipelines.language.en.terms import content_words

ENGINE = Component.VECTOR_STORE
DENSE, SPARSE, SENTENCES = "dense", "sparse", "sentence_vectors"
STORED_FIELDS = ("title", "text", "source", "updated_at")
# What jobs need to know of a row: its document (hash of the id, id, hash of the content with the number of chunks), the
# hash of what was embedded, whom it is about (a digest), and whether a job or a live update wrote it.
LEDGER_FIELDS = {"doc": 32, "doc_id": 1024, "doc_hash": 40, "chunk_hash": 32, "subject": 32, "origin": 40}
LEDGER_DEFAULTS: dict[str, Any] = {**dict.fromkeys(LEDGER_FIELDS, ""), "expires_at": 0}
# What a row has when it was written by a release that knew less.
ROW_DEFAULTS: dict[str, Any] = {**LEDGER_DEFAULTS, **FIELD_DEFAULTS}
FIELDS_PROPERTY = "voxray.fields."
_FINGERPRINT = "voxray.fingerprint."
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_BATCH_ROWS = 500
_MAX_TEXT_BYTES = 8192
_MAX_SENTENCE_BYTES = 65_535
_INT8_SCALE = 127.0


@dataclass(frozen=True, slots=True)
class IndexedPassage:
    """A passage with its vectors, ready to write. `key` is the primary key: writing it again replaces the row.

    `sentence_vectors` has one row per sentence of `text`; it is stored beside the passage, not searched. `expires_at`
    is in seconds since 1970, 0 for never; `columns` are those of `milvus_fields`; the other fields with defaults are
    those of `LEDGER_FIELDS`.
    """

    key: str
    tenant: str
    title: str
    text: str
    source: str
    updated_at: str
    vector: NDArray[np.float32]
    sentence_vectors: NDArray[np.float32]
    doc: str = ""
    doc_id: str = ""
    doc_hash: str = ""
    chunk_hash: str = ""
    subject: str = ""
    origin: str = ""
    expires_at: int = 0
    columns: Mapping[str, str | float] = field(default_factory=dict)


@contextmanager
def milvus_errors() -> Iterator[None]:
    """Map pymilvus and gRPC failures to `EngineError`; a lost connection is retryable, a rejected request is not."""
    try:
        yield
    except MilvusException as error:
        raise EngineError(ENGINE, f"Milvus: {error.message}", retryable=error.code in {1, 2, 65535}) from error
    except grpc.RpcError as error:
        raise EngineError(ENGINE, "Milvus cannot be reached", retryable=True) from error


def tenant_filter(tenant: str) -> str:
    """Return the filter expression of a tenant's rows. The only place that writes one.

    Raises:
        EngineError: the name could break out of the expression.
    """
    if not _TENANT.fullmatch(tenant):
        raise EngineError(ENGINE, "the tenant name has characters that are not allowed", retryable=False)
    return f'tenant == "{tenant}"'


def search_terms(text: str) -> str:
    """Return what BM25 sees of a text: content words in one form, the same for passages and for questions."""
    return " ".join(content_words(text))


def pack_vectors(vectors: NDArray[np.float32]) -> str:
    """Return unit vectors as base64 of int8, for a text column: 512 characters each of 384 dimensions.

    Past the column's limit the last sentences are left out; they are then ranked by their words alone.
    """
    quantised = np.round(vectors * _INT8_SCALE).astype(np.int8)
    room = _MAX_SENTENCE_BYTES * 3 // 4 // max(1, quantised.shape[1])
    return base64.b64encode(quantised[:room].tobytes()).decode()


def unpack_vectors(packed: str, dimensions: int) -> NDArray[np.float32]:
    """Return the vectors that `pack_vectors` stored, one row each, within 1% of unit length."""
    quantised = np.frombuffer(base64.b64decode(packed), dtype=np.int8).reshape(-1, dimensions)
    return quantised.astype(np.float32) / np.float32(_INT8_SCALE)


class KnowledgeStore:
    """Builds collections and switches the alias. Blocking: for jobs, not for the event loop.

    Args:
        uri: address of a Milvus or milvus-lite server.
        alias: name of the live collection; versions are called `<alias>_v<milliseconds>`.
        token: credential, "" for none.
    """

    def __init__(self, uri: str, alias: str, *, token: str = "") -> None:
        self._alias = alias
        self._columns: dict[str, set[str]] = {}
        with milvus_errors():
            self._client = MilvusClient(uri, token=token, grpc_options=GRPC_OPTIONS)

    def live_collection(self) -> str | None:
        """Return the collection behind the alias, or None before the first index."""
        with milvus_errors():
            for name in self._versions():
                if self._alias in self._client.list_aliases(name).get("aliases", []):
                    return name
        return None

    def fingerprint(self, tenant: str) -> str:
        """Return the fingerprint of the tenant's live data, "" when there is none."""
        return self._fingerprints(self.live_collection()).get(tenant, "")

    def create_collection(self, tenant: str, fingerprint: str, dimensions: int, *, expected_rows: int = 0) -> str:
        """Create the next version, empty except for the other tenants' rows of the live one; return its name.

        `expected_rows` of all tenants decides the index (`milvus_index_plan`); at least as many as are live are
        expected.
        """
        live = self.live_collection()
        plan = index_plan(max(expected_rows, self.rows(live)), is_lite=self.is_lite())
        prints = {**self._fingerprints(live), tenant: fingerprint}
        name = f"{self._alias}_v{time.time_ns() // 1_000_000}"
        with milvus_errors():
            self._client.create_collection(
                name,
                schema=_schema(dimensions),
                index_params=self._indexes(plan),
                num_partitions=plan.partitions,
                properties={f"{_FINGERPRINT}{key}": value for key, value in prints.items()},
            )
            if live is not None:
                self._carry_over(live, name, tenant)
        return name

    def rows(self, collection: str | None, tenant: str = "") -> int:
        """Return how many rows a loaded collection has, of a tenant or of all; 0 for None."""
        if collection is None:
            return 0
        only = tenant_filter(tenant) if tenant else ""
        with milvus_errors():
            return int(self._client.query(collection, filter=only, output_fields=["count(*)"])[0]["count(*)"])

    def is_lite(self) -> bool:
        """Say whether the server is milvus-lite, which has fewer kinds of index and no bulk import."""
        with milvus_errors():
            return "lite" in self._client.get_server_version().lower()

    def can_import(self) -> bool:
        """Say whether the server has a bulk import (`milvus_bulk`)."""
        return not self.is_lite()

    def upsert(self, collection: str, passages: Sequence[IndexedPassage]) -> None:
        """Write passages. Writing the same keys again changes nothing, so a retried batch is safe."""
        for start in range(0, len(passages), _BATCH_ROWS):
            self._upsert_rows(collection, [row_of(p) for p in passages[start : start + _BATCH_ROWS]])

    def seal(self, collection: str, tenant: str) -> int:
        """Flush, load and warm a written collection; return how many rows the tenant has in it."""
        with milvus_errors():
            # No release before the load: milvus-lite builds the index in a thread after a flush, and a reload in that
            # moment reads the half-written file ("file seems not fully written").
            self._client.flush(collection)
            self._client.load_collection(collection)
            counted = self._client.query(collection, filter=tenant_filter(tenant), output_fields=["count(*)"])
            self._client.search(
                collection,
                ["warm"],
                anns_field=SPARSE,
                limit=1,
                filter=tenant_filter(tenant),
                search_params={"metric_type": "BM25"},
            )
        return int(counted[0]["count(*)"])

    def make_live(self, collection: str) -> list[str]:
        """Move the alias to `collection`, keep the version before it, drop older ones; return the dropped names."""
        previous = self.live_collection()
        with milvus_errors():
            if previous is None:
                self._client.create_alias(collection, self._alias)
            else:
                self._client.alter_alias(collection, self._alias)
            stale = [n for n in self._versions() if n < collection and n != previous]
            for name in stale:
                self._client.drop_collection(name)
        return stale

    def drop_collection(self, collection: str) -> None:
        """Drop a version that never went live. Does nothing when it is gone."""
        with milvus_errors():
            if self._client.has_collection(collection):
                self._client.drop_collection(collection)

    def close(self) -> None:
        """Close the connection. Does nothing on successive calls."""
        self._client.close()

    def _upsert_rows(self, collection: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows; a column that a collection of an earlier release does not have is left out."""
        with milvus_errors():
            if collection not in self._columns:
                described = self._client.describe_collection(collection)["fields"]
                self._columns[collection] = {column["name"] for column in described} - {SPARSE}
            known = self._columns[collection]
            complete = ({**ROW_DEFAULTS, **row} for row in rows)
            self._client.upsert(collection, [{k: v for k, v in row.items() if k in known} for row in complete])

    def _versions(self) -> list[str]:
        pattern = re.compile(re.escape(self._alias) + r"_v\d{13}")
        return sorted(name for name in self._client.list_collections() if pattern.fullmatch(name))

    def _fingerprints(self, collection: str | None) -> dict[str, str]:
        if collection is None:
            return {}
        with milvus_errors():
            properties: dict[str, str] = self._client.describe_collection(collection).get("properties", {})
        return {k.removeprefix(_FINGERPRINT): v for k, v in properties.items() if k.startswith(_FINGERPRINT)}

    def _carry_over(self, live: str, name: str, tenant: str) -> None:
        """Copy the other tenants' rows with their vectors; only their own jobs may change what they have."""
        described = self._client.describe_collection(live)["fields"]
        fields = [field["name"] for field in described if field["name"] != SPARSE]
        others = f"not ({tenant_filter(tenant)})"
        rows = self._client.query_iterator(live, batch_size=_BATCH_ROWS, filter=others, output_fields=fields)
        try:
            while batch := rows.next():
                self._client.upsert(name, [{**ROW_DEFAULTS, **row} for row in batch])
        finally:
            rows.close()

    def _indexes(self, plan: IndexPlan) -> Any:
        indexes = self._client.prepare_index_params()
        indexes.add_index(DENSE, index_type=plan.index_type, metric_type=METRIC, params=plan.build)
        indexes.add_index(SPARSE, index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        return indexes


def _schema(dimensions: int) -> Any:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("tenant", DataType.VARCHAR, max_length=64, is_partition_key=True)
    for name in STORED_FIELDS:
        schema.add_field(name, DataType.VARCHAR, max_length=_MAX_TEXT_BYTES)
    for name, length in LEDGER_FIELDS.items():
        schema.add_field(name, DataType.VARCHAR, max_length=length)
    schema.add_field("expires_at", DataType.INT64)
    for name in TEXT_COLUMNS:
        schema.add_field(name, DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    for name in NUMBER_COLUMNS:
        schema.add_field(name, DataType.DOUBLE)
    schema.add_field(
        "terms",
        DataType.VARCHAR,
        max_length=_MAX_TEXT_BYTES,
        enable_analyzer=True,
        analyzer_params={"tokenizer": "standard"},
    )
    schema.add_field(SENTENCES, DataType.VARCHAR, max_length=_MAX_SENTENCE_BYTES)
    schema.add_field(DENSE, DataType.FLOAT_VECTOR, dim=dimensions)
    schema.add_field(SPARSE, DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function(
            name="bm25",
            function_type=FunctionType.BM25,
            input_field_names=["terms"],
            output_field_names=[SPARSE],
        )
    )
    return schema


def row_of(passage: IndexedPassage) -> dict[str, Any]:
    """Return the columns of a passage as they are written; Milvus adds the BM25 vector."""
    return {
        "pk": passage.key,
        "tenant": passage.tenant,
        "title": passage.title,
        "text": passage.text,
        "source": passage.source,
        "updated_at": passage.updated_at,
        "terms": search_terms(f"{passage.title}. {passage.text}"),
        SENTENCES: pack_vectors(passage.sentence_vectors),
        DENSE: passage.vector.tolist(),
        **{name: getattr(passage, name) for name in LEDGER_DEFAULTS},
        **FIELD_DEFAULTS,
        **passage.columns,
    }
