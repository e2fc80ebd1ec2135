"""Chunks as rows of a Ray dataset, and back. The only place that knows both shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.engines.milvus_store import IndexedPassage
from ingest_jobs.stages import Chunk, embedding_text
from pipelines.text.terms import sentences

_ENCODE_BATCH = 32
Encode = Callable[[list[str]], NDArray[np.float32]]

COLUMNS = ("key", "tenant", "title", "text", "source", "updated_at")


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """The vector of a passage and, row by row, those of its sentences."""

    vector: NDArray[np.float32]
    sentence_vectors: NDArray[np.float32]


def row_of_chunk(chunk: Chunk) -> dict[str, str]:
    """Return a chunk as a row of plain columns."""
    return asdict(chunk)


def embed_columns(titles: Sequence[str], texts: Sequence[str], encode: Encode) -> list[EmbeddedText]:
    """Embed passages, each under its title and sentence by sentence, in one call of the encoder.

    The sentences' vectors tell at question time which sentence answers; the passage's vector finds the passage.
    """
    pieces = [[embedding_text(title, text), *sentences(text)] for title, text in zip(titles, texts, strict=True)]
    vectors = _encode_by_length([piece for group in pieces for piece in group], encode)
    out: list[EmbeddedText] = []
    start = 0
    for group in pieces:
        out.append(EmbeddedText(vectors[start], vectors[start + 1 : start + len(group)]))
        start += len(group)
    return out


def _encode_by_length(texts: list[str], encode: Encode) -> NDArray[np.float32]:
    """Encode texts in batches of like length, since a batch costs as much as its longest text; return them in order."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(texts)
    for start in range(0, len(order), _ENCODE_BATCH):
        batch = order[start : start + _ENCODE_BATCH]
        for index, vector in zip(batch, encode([texts[i] for i in batch]), strict=True):
            vectors[index] = vector
    return np.stack(vectors)


def passage_of_row(row: Mapping[str, Any]) -> IndexedPassage:
    """Return an embedded row as a passage to write."""
    flat, dimensions = _vector(row["sentence_vectors"]), len(row["vector"])
    return IndexedPassage(
        **{name: str(row[name]) for name in COLUMNS},
        vector=_vector(row["vector"]),
        sentence_vectors=flat.reshape(-1, dimensions),
    )


def _vector(value: Any) -> NDArray[np.float32]:
    return np.asarray(value, dtype=np.float32)
