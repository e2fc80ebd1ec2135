from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.retrieval.measures import ndcg_at, recall_at, reciprocal_rank

pytestmark = pytest.mark.unit


def test_recall_counts_what_the_first_places_hold() -> None:
    marks = [False, True, False, True]
    assert recall_at(1, marks, 2) == 0.0
    assert recall_at(2, marks, 2) == 0.5
    assert recall_at(4, marks, 2) == 1.0
    assert recall_at(4, marks, 0) == 0.0


def test_reciprocal_rank_is_of_the_first_relevant_place() -> None:
    assert reciprocal_rank([False, False, True, True]) == pytest.approx(1 / 3)
    assert reciprocal_rank([False]) == 0.0


def test_ndcg_compares_with_the_best_order() -> None:
    assert ndcg_at(10, [True, True], 2) == 1.0
    assert ndcg_at(10, [False, True], 1) == pytest.approx(1 / math.log2(3))
    assert ndcg_at(1, [False, True], 1) == 0.0
    assert ndcg_at(5, [], 0) == 0.0


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 12), st.integers(0, 12))
def test_measures_stay_between_none_and_all(marks: list[bool], k: int, relevant: int) -> None:
    for value in (recall_at(k, marks, relevant), ndcg_at(k, marks, relevant), reciprocal_rank(marks)):
        assert 0.0 <= value <= 1.0
