"""The contents of a row in Milvus, its columns and vectors, and the schema and indexes of a collection."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, Function, FunctionType, MilvusClient

from deployments.engines.milvus.fields import FIELD_DEFAULTS, MAX_TEXT_BYTES, NUMBER_COLUMNS, TEXT_COLUMNS
from deployments.engines.milvus.index_plan import METRIC, IndexPlan
from pipelines.language.en.terms import content_words

DENSE, SPARSE, SENTENCES = "dense", "sparse", "sentence_vectors"
STORED_FIELDS = ("title", "text", "source", "updated_at")
# What jobs need to know about a row: its document (hash of the id, the id, and a hash of the content with the number of
# chunks), the hash of the embedded text, the person it is about (a digest), and whether a job or a live update wrote
# it.
LEDGER_FIELDS = {"doc": 32, "doc_id": 1024, "doc_hash": 40, "chunk_hash": 32, "subject": 32, "origin": 40}
LEDGER_DEFAULTS: dict[str, Any] = {**dict.fromkeys(LEDGER_FIELDS, ""), "expires_at": 0}
# The values of these columns for rows written by a release that did not have them.
ROW_DEFAULTS: dict[str, Any] = {**LEDGER_DEFAULTS, **FIELD_DEFAULTS}
_MAX_TEXT_BYTES = 8192
_MAX_SENTENCE_BYTES = 65_535
_INT8_SCALE = 127.0


@dataclass(frozen=True, slots=True)
class IndexedPassage:
    """A passage with its vectors, ready to write. `key` is the primary key, so writing it again replaces the row.

    `sentence_vectors` has one row per sentence of `text`; it is stored beside the passage, not searched. `expires_at`
    is in seconds since 1970, 0 for never; `columns` are those of `fields.py`; the other fields with defaults are
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


def search_terms(text: str) -> str:
    """Return what BM25 sees of a text: its content words in a canonical form, the same for passages and questions."""
    return " ".join(content_words(text))


def pack_vectors(vectors: NDArray[np.float32]) -> str:
    """Return unit vectors as base64 of int8, for a text column: 512 characters each of 384 dimensions.

    Sentences beyond the column's limit are left out and are then ranked by their words alone.
    """
    quantised = np.round(vectors * _INT8_SCALE).astype(np.int8)
    room = _MAX_SENTENCE_BYTES * 3 // 4 // max(1, quantised.shape[1])
    return base64.b64encode(quantised[:room].tobytes()).decode()


def unpack_vectors(packed: str, dimensions: int) -> NDArray[np.float32]:
    """Return the vectors that `pack_vectors` stored, one row each, within 1% of unit length."""
    quantised = np.frombuffer(base64.b64decode(packed), dtype=np.int8).reshape(-1, dimensions)
    return quantised.astype(np.float32) / np.float32(_INT8_SCALE)


def schema_of(dimensions: int) -> Any:
    """Return the schema of a collection whose vectors have `dimensions`."""
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


def indexes_of(plan: IndexPlan, client: MilvusClient) -> Any:
    """Return the indexes of a collection: one for meaning, as planned, and one for words."""
    indexes = client.prepare_index_params()
    indexes.add_index(DENSE, index_type=plan.index_type, metric_type=METRIC, params=plan.build)
    indexes.add_index(SPARSE, index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    return indexes


def row_of(passage: IndexedPassage) -> dict[str, Any]:
    """Return a passage as a row to write. Milvus adds the BM25 vector."""
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
