from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.retrieval.fusion import fuse_rankings

pytestmark = pytest.mark.unit

RANKINGS = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=8), max_size=4)


def test_key_that_both_rankings_name_wins_over_the_first_of_one() -> None:
    assert [key for key, _ in fuse_rankings([["a", "b"], ["c", "b"]])] == ["b", "a", "c"]


def test_scores_are_sums_of_reciprocal_ranks() -> None:
    assert dict(fuse_rankings([["a", "b"], ["b"]], k=1)) == {"b": 1 / 3 + 1 / 2, "a": 1 / 2}


def test_equal_scores_keep_the_order_of_the_rankings() -> None:
    assert [key for key, _ in fuse_rankings([["x"], ["y"], ["z"]])] == ["x", "y", "z"]


@given(RANKINGS)
def test_every_key_comes_out_once_and_scores_fall(rankings: list[list[str]]) -> None:
    fused = fuse_rankings(rankings)
    keys = [key for key, _ in fused]
    assert sorted(keys) == sorted({key for ranking in rankings for key in ranking})
    scores = [score for _, score in fused]
    assert scores == sorted(scores, reverse=True)


@given(RANKINGS, st.sampled_from("abcdefgh"))
def test_key_put_first_in_one_more_ranking_does_not_fall(rankings: list[list[str]], key: str) -> None:
    before = [k for k, _ in fuse_rankings(rankings)]
    after = [k for k, _ in fuse_rankings([*rankings, [key]])]
    if key in before:
        assert after.index(key) <= before.index(key)
