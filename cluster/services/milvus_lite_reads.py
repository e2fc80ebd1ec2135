"""Faster reads for the local milvus-lite, with identical results.

For every row and at every search, milvus-lite 3.2 checks in Python whether the row is the newest version of its key and
not deleted. It also scores BM25 posting by posting in Python. With 20,000 rows this takes 20 to 60 ms per search, and a
caller waits for two. Segments never change once written, so what is known about them holds until a segment or a
deletion is added, and is remembered here. Scores are summed with numpy.

Rows that are not flushed yet are in no segment. There are few of them, so they are searched as milvus-lite does. They
hide the versions in segments that they replace.

A flush returns before the index of the flushed rows is built (20 s for a graph of 20,000 rows), and milvus-lite reports
"loaded" all the while. Searches by meaning then compare every row while the build takes all cores. Here a collection
counts as loaded only when its indexes are built, which is what anyone who switches an alias waits for, and a build
leaves half of the cores to searches.

`install` patches the classes in this process, and only for the milvus-lite version that this was written and tested for
(`tests/contract/test_milvus_lite_reads.py` compares every result with the original's).
"""

from __future__ import annotations

import os
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
    """Install the faster reads. For any other version of milvus-lite, change nothing and return False."""
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
    collection.Collection.load = _patient_load(collection.Collection.load)
    _leave_cores_to_searches()
    collection.Collection.has_fast_reads = True
    return True


def _patient_load(original: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a replacement of milvus-lite's `Collection.load`."""

    def load(self: Any) -> None:
        original(self)
        self._wait_for_bg()

    return load


def _leave_cores_to_searches() -> None:
    import faiss

    faiss.omp_set_num_threads(max(1, (os.cpu_count() or 2) // 2))


@dataclass(frozen=True, slots=True)
class _Known:
    """The masks of a set of segments. `marks` refer to arrays that live as long as their segments."""

    marks: tuple[weakref.ref[Any], ...]
    deleted: dict[Any, int]
    masks: tuple[Mask, ...]


class LiveRows:
    """Remembers which rows of a set of segments are live, that is the newest of their key and not deleted."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], _Known] = {}

    def masks(self, segments: Sequence[Any], deleted: dict[Any, int]) -> tuple[Mask, ...]:
        """Return one mask per segment.

        Args:
            segments: all segments that may hold versions of the same keys.
            deleted: sequence number of the deletion by key. Versions before it are gone.
        """
        key = tuple(id(segment.seqs) for segment in segments)
        known = self._known.get(key)
        if known and known.deleted == deleted and _is_of(known.marks, segments):
            return known.masks
        # Forget segments that are gone, because their addresses may be reused.
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


def _unflushed(memtable: Any) -> dict[Any, int] | None:
    """Return, by key, the sequence number below which versions in segments have been replaced or deleted.

    Returns None if a deletion concerns only one partition, which is not supported here.
    """
    from milvus_lite.constants import ALL_PARTITIONS

    gone = {pk: seq for pk, (_, _, seq) in memtable.pk_index_snapshot()}
    for pk, (seq, partition) in memtable.delete_index_snapshot().items():
        if partition != ALL_PARTITIONS:
            return None
        gone[pk] = max(seq, gone.get(pk, -1))
    return gone


def _without(segment: Any, live: Mask, gone: dict[Any, int]) -> Mask:
    """Return the mask without the rows that are gone, leaving the remembered one unchanged."""
    rows = [
        row for pk, seq in gone.items() if (row := segment.pk_to_row.get(pk)) is not None and segment.seqs[row] <= seq
    ]
    if not rows:
        return live
    mask = live.copy()
    mask[rows] = False
    return mask


def _dense_search(rows: LiveRows, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a replacement of milvus-lite's `execute_search_with_index`, which is called by keyword only."""

    def search(**asked: Any) -> Any:
        gone = _unflushed(asked["memtable"])
        project = asked.get("project_record_fn")
        if project is None or asked.get("partition_names") or gone is None or asked["top_k"] <= 0:
            return original(**asked)
        segments = [segment for segment in asked["segments"] if segment.num_rows]
        masks = rows.masks(segments, asked["delta_index"].snapshot)
        queries = np.atleast_2d(np.asarray(asked["query_vectors"], dtype=np.float32))
        found: list[list[tuple[float, int, int]]] = [[] for _ in queries]
        for place, (segment, live) in enumerate(zip(segments, masks, strict=True)):
            mask = _without(segment, live, gone)
            mask = mask & _filter_mask(segment, asked["compiled_filter"], asked["indexed_filter_plan"])
            _, present = segment.vector_data(asked["vector_field"])
            mask = mask if present is None else mask & present
            if mask.any():
                _collect(found, place, _nearest(segment, queries, mask, asked))
        flushed = [_hits(sorted(hits)[: asked["top_k"]], segments, project) for hits in found]
        return _merged(flushed, original(**{**asked, "segments": []}), asked["top_k"]) if gone else flushed

    return search


def _collect(found: list[list[tuple[float, int, int]]], place: int, nearest: tuple[Any, Any]) -> None:
    """Add the rows found by a segment's index, without padding, to the candidates of each query."""
    for hits, ids, distances in zip(found, *nearest, strict=True):
        hits += [(float(distance), place, int(row)) for row, distance in zip(ids, distances, strict=True) if row >= 0]


def _merged(flushed: list[list[Any]], unflushed: list[list[Any]], top_k: int) -> list[list[Any]]:
    """Return the best of both for each query. A key that was written in between counts by its new version."""
    merged: list[list[Any]] = []
    for old, new in zip(flushed, unflushed, strict=True):
        keys = {hit["id"] for hit in new}
        hits = [*(hit for hit in old if hit["id"] not in keys), *new]
        merged.append(sorted(hits, key=lambda hit: hit["distance"])[:top_k])
    return merged


def _nearest(segment: Any, queries: NDArray[np.float32], mask: Mask, asked: dict[str, Any]) -> tuple[Any, Any]:
    from milvus_lite.index.brute_force import BruteForceIndex

    field = asked["vector_field"]
    index = segment.indexes.get(field)
    if index is None:
        index = BruteForceIndex.build(segment.vector_data(field)[0], asked["metric_type"])
    # No mask differs from a mask that is all true, because a graph index then searches without a selector.
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

        # These are searched before the segments, so that a row flushed meanwhile is seen twice and merged instead of
        # missed.
        gone, pending = _unflushed(self._memtable), self._memtable.active_record_snapshots()
        if asked["partition_names"] or gone is None:
            return original(self, **asked)
        segments, deletions = self._read_snapshot()
        compiled = self._compile_filter(asked["expr"], timezone=asked.get("timezone")) if asked["expr"] else None
        filter_plan = self._indexed_filter_plan(compiled)
        queries = self._prepare_sparse_queries(asked["query_vectors"], asked["vector_field"])
        found: list[list[tuple[float, int, int]]] = [[] for _ in queries]
        masks = rows.masks(segments, deletions.snapshot)
        for place, (segment, live) in enumerate(zip(segments, masks, strict=True)):
            mask = _without(segment, live, gone) & _filter_mask(segment, compiled, filter_plan)
            if mask.any():
                index = _sparse_index(self, segment, asked["vector_field"], asked["metric_type"])
                _collect(found, place, _search_sparse_index(index, queries, asked["top_k"], mask))
        plan = build_projection_plan(asked["output_fields"], self._schema, api_kind="search")

        def project(record: dict[str, Any]) -> Any:
            return project_record(record, self._schema, plan)

        flushed = [_hits(sorted(hits)[: asked["top_k"]], segments, project) for hits in found]
        records = [(pk, record) for pk, seq, record in pending if not deletions.is_deleted(pk, seq)]
        return _merged(
            flushed, _unflushed_hits(self, records, queries, compiled, {**asked, "project": project}), asked["top_k"]
        )

    return search


def _unflushed_hits(
    collection: Any, records: list[tuple[Any, dict[str, Any]]], queries: Any, compiled: Any, asked: dict[str, Any]
) -> list[list[Any]]:
    """Search rows that are in no segment yet. There are few, so their index is rebuilt, as in milvus-lite."""
    from milvus_lite.analyzer.sparse import bytes_to_sparse
    from milvus_lite.index.sparse_factory import create_sparse_index
    from milvus_lite.search.filter.eval.python_backend import _eval_row

    if not records:
        return [[] for _ in queries]
    spec = collection._index_specs.get(asked["vector_field"])
    mask = np.array([compiled is None or bool(_eval_row(compiled.ast, record)) for _, record in records], dtype=bool)
    stored = [record.get(asked["vector_field"]) for _, record in records]
    index = create_sparse_index(asked["metric_type"], spec.build_params if spec else {})
    vectors = [bytes_to_sparse(raw) if isinstance(raw, bytes) else (raw or {}) for raw in stored]
    index.build(vectors, valid_mask=mask)
    found: list[list[tuple[float, int, int]]] = [[] for _ in queries]
    _collect(found, 0, _search_sparse_index(index, queries, asked["top_k"], mask))
    return [
        [
            {"id": records[row][0], "distance": distance, "entity": asked["project"](records[row][1])}
            for distance, _, row in hits
        ]
        for hits in found
    ]


def _search_sparse_index(index: Any, queries: Any, top_k: int, mask: Mask) -> tuple[Any, Any]:
    from milvus_lite.index.sparse_factory import _search_prepared_sparse_index

    found: tuple[Any, Any] = _search_prepared_sparse_index(index, queries, top_k, valid_mask=mask)
    return found


def _sparse_index(collection: Any, segment: Any, field: str, metric: str) -> Any:
    """Return the segment's index of a sparse field, which is built at the first search as in milvus-lite."""
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
    """Replace `SparseInvertedIndex.search`, with the same scores summed by numpy and ties in the order of rows.

    A term's contribution to a document does not depend on the query, so it is computed only once, on first use.
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
    """Return the rows that contain a term, and its BM25 score in each for a query weight of 1."""
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
