from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.milvus.index_plan import SEARCH_PARAMS, index_plan

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("rows", "on_lite", "on_milvus"),
    [
        (0, "FLAT", "FLAT"),
        (9_999, "FLAT", "FLAT"),
        (10_000, "HNSW", "HNSW"),
        (999_999, "HNSW", "HNSW"),
        (1_000_000, "HNSW", "HNSW_SQ"),
        (20_000_000, "HNSW", "DISKANN"),
    ],
)
def test_index_follows_size(rows: int, on_lite: str, on_milvus: str) -> None:
    assert index_plan(rows, is_lite=True).index_type == on_lite
    assert index_plan(rows, is_lite=False).index_type == on_milvus


@given(st.integers(0, 10**9), st.booleans())
def test_every_index_has_its_search_parameters(rows: int, is_lite: bool) -> None:
    plan = index_plan(rows, is_lite=is_lite)
    assert plan.index_type == "FLAT" or SEARCH_PARAMS[plan.index_type]
    assert plan.partitions >= 16
