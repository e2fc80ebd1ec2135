"""Faster reads for the local milvus-lite, with the same results.

milvus-lite 3.2 asks of every row, in Python and at every search, whether it is the newest version of its key and not
deleted; it scores BM25 posting by posting in Python too. At 20,000 rows that is 20 to 60 ms a search, of which a caller
waits for two. Segments never change once written, so what was found out about them holds until a segment, or a
deletion, is added: it is remembered here. Scores are summed with numpy.

Rows that are not flushed yet are in no segment. While there are any, milvus-lite's own code searches.

`install` changes the classes of this process, and only of the milvus-lite version that this was written and tested for
(`tests/contract/test_milvus_lite_reads.py` compares every result with the original's).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

MILVUS_LITE = "3.2.2"
Mask = NDArray[np.bool_]


def install() -> bool:
    """Put the faster reads in place; return False, and change nothing, for another version of milvus-lite."""
    if version("milvus-lite") != MILVUS_LITE:
        return False
    from milvus_lite.engine import collection
    from milvus_lite.index.sparse_inverted import SparseInvertedIndex

    if getattr(collection.Collection, "has_fast_reads", False):
        return True
    rows = LiveRows()
    collection.execute_search_with_index = _dense_search(rows, collection.execute_search_with_index)
    collection.Collection._search_sparse = _sparse_search(rows, collection.Collection._search_sparse)
    SparseInvertedIndex.search = bm25_search
    collection.Collection.has_fast_reads = True
    return True


@dataclass(frozen=True, slots=True)
class _Known:
    """Masks of a set of segments. `marks` refer to arrays that live as long as their segments do."""

    marks: tuple[weakref.ref[Any], ...]
    deleted: dict[Any, int]
    masks: tuple[Mask, ...]


class LiveRows:
    """Remembers which rows of a set of segments are live: newest of their key, and not deleted."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], _Known] = {}

    def masks(self, segments: Sequence[Any], deleted: dict[Any, int]) -> tuple[Mask, ...]:
        """Return one mask per segment.

        Args:
            segments: all that may hold versions of the same keys.
            deleted: by key, the sequence number of its deletion; a version before it is gone.
        """
        key = tuple(id(segment.seqs) for segment in segments)
        known = self._known.get(key)
        if known and known.deleted == deleted and _is_of(known.marks, segments):
            return known.masks
        # Of segments that are gone nothing needs to be known; their addresses may come again.
        self._known = {k: v for k, v in list(self._known.items()) if all(mark() is not None for mark in v.marks)}
        masks = _live_masks(segments, deleted)
        self._known[key] = _Known(tuple(weakref.ref(s.seqs) for s in segments), dict(deleted), masks)
        return masks


def _is_of(marks: tuple[weakref.ref[Any], ...], segments: Sequence[Any]) -> bool:
    return all(mark() is segment.seqs for mark, segment in zip(marks, segments, strict=True))


def _live_masks(segments: Sequence[Any], deleted: dict[Any, int]) -> tuple[Mask, ...]:
    newest: dict[Any, int] = {}
    for segment in segments:
        for pk, seq in zip(segment.pks, segment.seqs.tolist(), strict=True):
            if seq > newest.get(pk, -1):
                newest[pk] = seq
    return tuple(
        np.fromiter(
            (
                newest[pk] == seq and deleted.get(pk, -1) <= seq
                for pk, seq in zip(segment.pks, segment.seqs.tolist(), strict=True)
            ),
            dtype=bool,
            count=len(segment.pks),
        )
        for segment in segments
    )


def _is_flushed(memtable: Any) -> bool:
    """Say whether no row and no deletion waits to be written to a segment."""
    return not memtable.pk_index_snapshot() and not memtable.delete_index_snapshot()


def _dense_search(rows: LiveRows, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a replacement of milvus-lite's `execute_search_with_index`, which is called by keywords alone."""

    def search(**asked: Any) -> Any:
        project, partitions = asked.get("project_record_fn"), asked.get("partition_names")
        if project is None or partitions or not _is_flushed(asked["memtable"]) or asked["top_k"] <= 0:
            return original(**asked)
        segments = [segment for segment in asked["segments"] if segment.num_rows]
        masks = rows.masks(segments, asked["delta_index"].snapshot)
        queries = np.atleast_2d(np.asarray(asked["query_vectors"], dtype=np.float32))
        found: list[list[tuple[float, int, int]]] = [[] for _ in queries]
        for place, (segment, live) in enumerate(zip(segments, masks, strict=True)):
            mask = live & _filter_mask(segment, asked["compiled_filter"], asked["indexed_filter_plan"])
            _, present = segment.vector_data(asked["vector_field"])
            mask = mask if present is None else mask & present
            if mask.any():
                ids, distances = _nearest(segment, queries, mask, asked)
                for hits, own_ids, own in zip(found, ids, distances, strict=True):
                    hits += [(float(d), place, int(i)) for i, d in zip(own_ids, own, strict=True) if i >= 0]
        return [_hits(sorted(hits)[: asked["top_k"]], segments, project) for hits in found]

    return search


def _nearest(segment: Any, queries: NDArray[np.float32], mask: Mask, asked: dict[str, Any]) -> tuple[Any, Any]:
    from milvus_lite.index.brute_force import BruteForceIndex

    field = asked["vector_field"]
    index = segment.indexes.get(field)
    if index is None:
        index = BruteForceIndex.build(segment.vector_data(field)[0], asked["metric_type"])
    # No mask is not the same as one that is all true: a graph index then searches without a selector.
    valid = None if mask.all() else mask
    found: tuple[Any, Any] = index.search(queries, asked["top_k"], valid_mask=valid, params=asked["search_params"])
    return found


def _filter_mask(segment: Any, compiled: Any, plan: Any) -> Any:
    from milvus_lite.search.indexed_filter import evaluate_segment_filter

    if compiled is None:
        return np.True_
    return np.asarray(evaluate_segment_filter(segment, compiled, plan), dtype=bool)


def _hits(chosen: list[tuple[float, int, int]], segments: Sequence[Any], project: Callable[..., Any]) -> list[Any]:
    return [
        {"id": segments[place].pks[row], "distance": distance, "entity": project(segments[place].row_to_dict(row))}
        for distance, place, row in chosen
    ]


def _sparse_search(rows: LiveRows, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a replacement of milvus-lite's `Collection._search_sparse`."""

    def search(self: Any, **asked: Any) -> Any:
        from milvus_lite.engine.projection import build_projection_plan, project_record

        if asked["partition_names"] or not _is_flushed(self._memtable):
            return original(self, **asked)
        segments, deletions = self._read_snapshot()
        compiled = self._compile_filter(asked["expr"], timezone=asked.get("timezone")) if asked["expr"] else None
        filter_plan = self._indexed_filter_plan(compiled)
        queries = self._prepare_sparse_queries(asked["query_vectors"], asked["vector_field"])
        found: list[list[tuple[float, int, int]]] = [[] for _ in queries]
        for place, (segment, live) in enumerate(zip(segments, rows.masks(segments, deletions.snapshot), strict=True)):
            mask = live & _filter_mask(segment, compiled, filter_plan)
            if mask.any():
                index = _sparse_index(self, segment, asked["vector_field"], asked["metric_type"])
                ids, distances = _search_sparse_index(index, queries, asked["top_k"], mask)
                for hits, own_ids, own in zip(found, ids, distances, strict=True):
                    hits += [(float(d), place, int(i)) for i, d in zip(own_ids, own, strict=True) if i >= 0]
        plan = build_projection_plan(asked["output_fields"], self._schema, api_kind="search")

        def project(record: dict[str, Any]) -> Any:
            return project_record(record, self._schema, plan)

        return [_hits(sorted(hits)[: asked["top_k"]], segments, project) for hits in found]

    return search


def _search_sparse_index(index: Any, queries: Any, top_k: int, mask: Mask) -> tuple[Any, Any]:
    from milvus_lite.index.sparse_factory import _search_prepared_sparse_index

    found: tuple[Any, Any] = _search_prepared_sparse_index(index, queries, top_k, valid_mask=mask)
    return found


def _sparse_index(collection: Any, segment: Any, field: str, metric: str) -> Any:
    """Return the segment's index of a sparse field, built at the first search, as milvus-lite does."""
    from milvus_lite.analyzer.sparse import bytes_to_sparse
    from milvus_lite.index.sparse_factory import create_sparse_index, sparse_index_matches

    spec = collection._index_specs.get(field)
    params = spec.build_params if spec else {}
    index = segment.sparse_indexes.get(field)
    if not sparse_index_matches(index, metric, params):
        stored = segment.table.column(field).to_pylist()
        index = create_sparse_index(metric, params)
        index.build([bytes_to_sparse(raw) if isinstance(raw, bytes) else (raw or {}) for raw in stored])
        segment.sparse_indexes[field] = index
    return index


def bm25_search(
    self: Any, query_sparse_vectors: list[dict[int, float]], top_k: int, valid_mask: Mask | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Replace `SparseInvertedIndex.search`: the same scores, summed with numpy; equal scores in the order of rows.

    What a term gives to a document does not depend on the query; it is computed when the term is first asked for.
    """
    from milvus_lite.index.sparse_common import empty_results, validate_mask

    valid_mask = validate_mask(valid_mask, len(self._doc_lengths))
    all_ids, all_distances = empty_results(len(query_sparse_vectors), top_k)
    for number, terms in enumerate(query_sparse_vectors):
        scores = np.zeros(len(self._doc_lengths))
        for term, weight in terms.items():
            rows, gains = _gains(self, term)
            scores[rows] += gains * weight
        if valid_mask is not None:
            scores[~valid_mask] = 0.0
        matching = np.flatnonzero(scores > 0.0)
        if len(matching) > top_k:
            least = np.partition(scores[matching], len(matching) - top_k)[len(matching) - top_k]
            matching = matching[scores[matching] >= least]
        best = matching[np.argsort(-scores[matching], kind="stable")][:top_k]
        all_ids[number, : len(best)] = best
        all_distances[number, : len(best)] = -scores[best]
    return all_ids, all_distances


def _gains(index: Any, term: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows that hold a term, and the BM25 score that it gives to each for a query weight of 1."""
    cache: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = index.__dict__.setdefault("_gains", {})
    if term not in cache:
        posting = index._posting_lists.get(term) or []
        rows = np.array([row for row, _ in posting], dtype=np.int64)
        tf = np.array([count for _, count in posting], dtype=np.float64)
        df = index._df.get(term, 0)
        idf = np.log((index.doc_count - df + 0.5) / (df + 0.5) + 1.0)
        lengths = index._doc_lengths[rows].astype(np.float64) / (index.avgdl or 1.0)
        cache[term] = rows, idf * tf * (index.k1 + 1.0) / (tf + index.k1 * (1.0 - index.b + index.b * lengths))
    return cache[term]
