"""Chooses a collection's index by size: exact while that is fast enough, then a graph, then a compressed index.

| rows | milvus-lite | Milvus | why |
|---|---|---|---|
| below 10,000 | FLAT | FLAT | exact, nothing to build; one pass over 15 MB of 384 dimensions takes 3 ms |
| below 1,000,000 | HNSW | HNSW | a graph in memory; 0.987 of the exact neighbours at `ef` 256 |
| below 20,000,000 | HNSW | HNSW_SQ (SQ8) | the same graph over vectors of a quarter of the size |
| above | HNSW | DISKANN | vectors on NVMe, compressed ones in memory |

Vectors have unit length, so the inner product (IP) orders them as the cosine does and spares the division. Words are
always in a SPARSE_INVERTED_INDEX with BM25. A tenant's rows lie in one of `partitions` by the hash of its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FLAT_BELOW = 10_000
HNSW_BELOW = 1_000_000
HNSW_SQ_BELOW = 20_000_000
METRIC = "IP"
# How much of the graph a search explores. It must be at least the number of candidates.
SEARCH_PARAMS: dict[str, dict[str, int]] = {
    "HNSW": {"ef": 256},
    "HNSW_SQ": {"ef": 256},
    "DISKANN": {"search_list": 128},
}


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """The dense index of a collection.

    Attributes:
        index_type: the type's name in Milvus.
        build: parameters for building the index.
        partitions: how many partitions the tenants are spread over.
    """

    index_type: str
    build: dict[str, int | str] = field(default_factory=dict)
    partitions: int = 16


def index_plan(rows: int, *, is_lite: bool) -> IndexPlan:
    """Return the index for about `rows` rows. milvus-lite (`is_lite`) has no compressed graph on disk.

    The measurements are in docs/retrieval.md. The number of rows is an estimate from the previous version or from the
    job, because the plan cannot change within one collection.
    """
    if rows < FLAT_BELOW:
        return IndexPlan("FLAT")
    graph: dict[str, int | str] = {"M": 16, "efConstruction": 200}
    if is_lite or rows < HNSW_BELOW:
        return IndexPlan("HNSW", graph, partitions=16 if is_lite else 64)
    if rows < HNSW_SQ_BELOW:
        return IndexPlan("HNSW_SQ", {**graph, "M": 24, "sq_type": "SQ8"}, partitions=64)
    return IndexPlan("DISKANN", partitions=256)
