"""The rows passed between the stages. Only this module knows their shapes.

A row of kind `chunk` holds a chunk's fields, and `kept` is a chunk that the collection already has. `document`, `unit`
and `refused` only report progress (with a `note` of how many values were masked, or the reason), and so do the kinds of
documents that are left out: `expired`, `erased` (with its person) and `overridden` (by a live update).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.engines.milvus.schema import IndexedPassage
from ingest_jobs.knowledge.read.stages import Chunk, embedding_text
from pipelines.language.en.sentences import sentences

_ENCODE_BATCH = 32
Encode = Callable[[list[str]], NDArray[np.float32]]
Row = dict[str, Any]

CHUNK, KEPT, WRITTEN = "chunk", "kept", "written"
DOCUMENT, UNIT, REFUSED = "document", "unit", "refused"
EXPIRED, ERASED, OVERRIDDEN = "expired", "erased", "overridden"
_CHUNK_FIELDS = tuple(field.name for field in fields(Chunk))
_EMPTY: Row = {**dict.fromkeys(_CHUNK_FIELDS, ""), "expires_at": 0}
OUTCOME_FIELDS = ("kind", "key", "chunk_hash", "doc", "note")


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """The vector of a passage, and one row with the vector of each of its sentences."""

    vector: NDArray[np.float32]
    sentence_vectors: NDArray[np.float32]


def row_of_chunk(chunk: Chunk, kind: str = CHUNK) -> Row:
    """Return a chunk as a row of plain columns."""
    return {**asdict(chunk), "kind": kind, "note": ""}


def row_of_news(kind: str, note: str = "", doc: str = "") -> Row:
    """Return a row that only reports something."""
    return {**_EMPTY, "kind": kind, "note": note, "doc": doc}


def outcome(row: Mapping[str, Any]) -> Row:
    """Return what the job keeps of a row that has passed through all stages."""
    short = {name: row[name] for name in OUTCOME_FIELDS}
    return {**short, "kind": WRITTEN} if row["kind"] == CHUNK else short


def embed_rows(rows: Sequence[Row], encode: Encode) -> list[Row]:
    """Return the rows with `vector` and flat `sentence_vectors` added, which are empty for rows of other kinds."""
    chosen = [row for row in rows if row["kind"] == CHUNK]
    found = iter(embed_columns([row["title"] for row in chosen], [row["text"] for row in chosen], encode))
    return [{**row, **(_flat(next(found)) if row["kind"] == CHUNK else _flat(_NOTHING))} for row in rows]


def embed_columns(titles: Sequence[str], texts: Sequence[str], encode: Encode) -> list[EmbeddedText]:
    """Embed passages, each under its title and sentence by sentence, in one call of the encoder.

    The passage's vector finds the passage, and the sentences' vectors tell which sentence answers a question.
    """
    pieces = [[embedding_text(title, text), *sentences(text)] for title, text in zip(titles, texts, strict=True)]
    if not pieces:
        return []
    vectors = _encode_by_length([piece for group in pieces for piece in group], encode)
    out: list[EmbeddedText] = []
    start = 0
    for group in pieces:
        out.append(EmbeddedText(vectors[start], vectors[start + 1 : start + len(group)]))
        start += len(group)
    return out


def passage_of_row(row: Mapping[str, Any]) -> IndexedPassage:
    """Return an embedded row as a passage to write."""
    flat, vector = _vector(row["sentence_vectors"]), _vector(row["vector"])
    plain = {name: row[name] for name in _CHUNK_FIELDS if name not in {"expires_at", "columns"}}
    return IndexedPassage(
        **{name: str(value) for name, value in plain.items()},
        expires_at=int(row["expires_at"]),
        columns=json.loads(row["columns"]),
        vector=vector,
        sentence_vectors=flat.reshape(-1, len(vector)),
    )


def rows_of_columns(batch: Mapping[str, Sequence[Any]]) -> list[Row]:
    """Turn Ray's batch of columns into rows."""
    names = list(batch)
    return [dict(zip(names, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def columns_of_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """Turn rows into Ray's batch of columns. Vectors differ in length, so they stay objects."""
    columns: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if isinstance(values[0], np.ndarray):
            ragged = np.empty(len(values), dtype=object)
            ragged[:] = values
            columns[name] = ragged
        else:
            columns[name] = np.asarray(values)
    return columns


def _encode_by_length(texts: list[str], encode: Encode) -> NDArray[np.float32]:
    """Encode texts in order, batched by similar length because the longest text of a batch determines its cost."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(texts)
    for start in range(0, len(order), _ENCODE_BATCH):
        batch = order[start : start + _ENCODE_BATCH]
        for index, vector in zip(batch, encode([texts[i] for i in batch]), strict=True):
            vectors[index] = vector
    return np.stack(vectors)


_NOTHING = EmbeddedText(np.empty(0, dtype=np.float32), np.empty((0, 0), dtype=np.float32))


def _flat(embedded: EmbeddedText) -> Row:
    return {"vector": embedded.vector, "sentence_vectors": embedded.sentence_vectors.ravel()}


def _vector(value: Any) -> NDArray[np.float32]:
    return np.asarray(value, dtype=np.float32)
