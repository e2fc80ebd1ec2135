"""Rank fusion: merges several rankings by rank alone, since a cosine and a BM25 score cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence

RRF_K = 60


def fuse_rankings(rankings: Sequence[Sequence[str]], k: int = RRF_K) -> list[tuple[str, float]]:
    """Return (key, score) of all keys, best first: reciprocal rank fusion, score = sum of 1 / (k + rank), ranks from 1.

    A key that occurs twice in one ranking counts by its better place. Keys with equal scores keep the order in which
    the rankings, first to last, name them, so the result does not depend on hashing.

    Source: Cormack, Clarke, Buettcher, "Reciprocal Rank Fusion outperforms Condorcet", SIGIR 2009.
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(dict.fromkeys(ranking), start=1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (k + rank)
    return sorted(scores.items(), key=lambda item: -item[1])
