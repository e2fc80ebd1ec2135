"""Measures of ranking quality, with binary relevance. Pure.

The definitions are those of trec_eval and in Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR
techniques" (2002).
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def recall_at(k: int, is_relevant: Sequence[bool], relevant: int) -> float:
    """Return the share of all `relevant` passages found among the first `k` of a ranking; 0.0 if none exist."""
    return min(sum(is_relevant[:k]), relevant) / relevant if relevant else 0.0


def reciprocal_rank(is_relevant: Sequence[bool]) -> float:
    """Return 1 / rank of the first relevant passage, or 0.0 when none is found. The mean over questions is the MRR."""
    return next((1.0 / rank for rank, hit in enumerate(is_relevant, start=1) if hit), 0.0)


def ndcg_at(k: int, is_relevant: Sequence[bool], relevant: int) -> float:
    """Return the discounted gain of the first `k`, as a share of what an ideal ranking of all `relevant` would gain."""
    ideal = sum(1.0 / math.log2(rank + 1) for rank in range(1, min(k, relevant) + 1))
    gained = sum(1.0 / math.log2(rank + 1) for rank, hit in enumerate(is_relevant[:k], start=1) if hit)
    return min(gained / ideal, 1.0) if ideal else 0.0
