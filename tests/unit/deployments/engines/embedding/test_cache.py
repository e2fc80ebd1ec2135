from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.embedding.cache import EmbeddingCache

pytestmark = pytest.mark.unit

VECTOR = np.ones(4, np.float32)


def test_vector_is_found_by_its_tenant_alone() -> None:
    cache = EmbeddingCache()
    cache.put("alpha", "question", VECTOR)
    assert cache.get("alpha", "question") is VECTOR
    assert cache.get("beta", "question") is None
    assert (cache.hits, cache.misses) == (1, 1)


def test_busy_tenant_pushes_out_its_own_oldest() -> None:
    cache = EmbeddingCache(max_vectors=4)
    cache.put("quiet", "only", VECTOR)
    for number in range(10):
        cache.put("busy", str(number), VECTOR)
    assert cache.get("quiet", "only") is VECTOR
    assert [n for n in range(10) if cache.get("busy", str(n)) is not None] == [7, 8, 9]


def test_used_vector_outlives_an_unused_one() -> None:
    cache = EmbeddingCache(max_vectors=2)
    cache.put("a", "first", VECTOR)
    cache.put("a", "second", VECTOR)
    cache.get("a", "first")
    cache.put("a", "third", VECTOR)
    assert cache.get("a", "first") is VECTOR
    assert cache.get("a", "second") is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("pqrstu")), max_size=60), st.integers(0, 5))
def test_size_stays_within_the_bound(puts: list[tuple[str, str]], bound: int) -> None:
    cache = EmbeddingCache(max_vectors=bound)
    for tenant, text in puts:
        cache.put(tenant, text, VECTOR)
        assert len(cache) <= bound
        assert len(cache) == sum(len(own) for own in cache._tenants.values())
