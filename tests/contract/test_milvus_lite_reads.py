"""The faster reads of milvus-lite give what milvus-lite's own code gives: whatever was written, replaced or deleted."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milvus_lite.db import MilvusLite
from milvus_lite.engine import collection as engine
from milvus_lite.index.sparse_inverted import SparseInvertedIndex
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema, Function, FunctionType

from cluster.services import milvus_lite_reads as reads

pytestmark = pytest.mark.contract

WORDS = "tent boot stove rope lamp coat sock map".split()
FIELDS = ["tenant", "text"]

# (what, key, tenant, words of the text)
Step = tuple[str, int, str, list[str]]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "write", "delete", "flush"]),
        st.integers(0, 7),
        st.sampled_from(["a", "b"]),
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=5),
    ),
    min_size=3,
    max_size=25,
)


def schema() -> CollectionSchema:
    return CollectionSchema(
        fields=[
            FieldSchema(name="pk", dtype=DataType.VARCHAR, is_primary=True, max_length=64),
            FieldSchema(name="tenant", dtype=DataType.VARCHAR, max_length=64, is_partition_key=True),
            FieldSchema(name="text", dtype=DataType.VARCHAR, max_length=512, enable_analyzer=True),
            FieldSchema(name="dense", dtype=DataType.FLOAT_VECTOR, dim=8),
            FieldSchema(name="sparse", dtype=DataType.SPARSE_FLOAT_VECTOR, is_function_output=True),
        ],
        functions=[
            Function(
                name="bm25",
                function_type=FunctionType.BM25,
                input_field_names=["text"],
                output_field_names=["sparse"],
            )
        ],
    )


def vector_of(words: list[str]) -> list[float]:
    total = np.sum([np.random.default_rng(WORDS.index(word)).normal(size=8) for word in words], axis=0)
    return [float(x) for x in total / np.linalg.norm(total)]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusLite]:
    opened = MilvusLite(str(tmp_path_factory.mktemp("lite")))
    yield opened
    opened.close()


def play(collection: Any, steps: list[Step]) -> None:
    for what, key, tenant, words in steps:
        if what == "write":
            row = {"pk": f"k{key}", "tenant": tenant, "text": " ".join(words), "dense": vector_of(words)}
            collection.upsert([row])
        elif what == "delete":
            collection.delete([f"k{key}"])
        else:
            collection.flush()


def asked(collection: Any, tenant: str) -> list[Any]:
    """Ask every word, by meaning and by words; return ids with rounded distances, ties in one order."""
    results: list[Any] = []
    for word in WORDS[:4]:
        for data, field in ((vector_of([word]), "dense"), (f"{word} {WORDS[-1]}", "sparse")):
            hits = collection.search(
                [data], 6, None, expr=f'tenant == "{tenant}"', output_fields=FIELDS, anns_field=field
            )[0]
            results.append(sorted((round(h["distance"], 4), h["id"], h["entity"]["text"]) for h in hits))
    return results


@given(steps=STEPS, is_flushed=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fast_reads_agree_with_milvus_lite(database: MilvusLite, steps: list[Step], is_flushed: bool) -> None:
    original_dense = engine.execute_search_with_index
    original_sparse = engine.Collection._search_sparse
    original_bm25 = SparseInvertedIndex.search
    if database.has_collection("c"):
        database.drop_collection("c")
    collection = database.create_collection("c", schema())
    collection.load()
    play(collection, steps)
    if is_flushed:
        collection.flush()
    collection._wait_for_bg()
    expected = [asked(collection, tenant) for tenant in "ab"]
    rows = reads.LiveRows()
    try:
        engine.execute_search_with_index = reads._dense_search(rows, original_dense)
        engine.Collection._search_sparse = reads._sparse_search(rows, original_sparse)
        SparseInvertedIndex.search = reads.bm25_search
        assert [asked(collection, tenant) for tenant in "ab"] == expected
        # What was remembered must not outlive a change.
        play(collection, [("write", 1, "a", ["lamp"]), ("delete", 2, "a", ["map"]), ("flush", 0, "a", ["map"])])
        collection._wait_for_bg()
        changed = [asked(collection, tenant) for tenant in "ab"]
    finally:
        engine.execute_search_with_index = original_dense
        engine.Collection._search_sparse = original_sparse
        SparseInvertedIndex.search = original_bm25
    assert changed == [asked(collection, tenant) for tenant in "ab"]


def test_server_process_has_fast_reads() -> None:
    program = "from cluster.services.milvus_lite_reads import install; print(install(), install())"
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert ran.stdout.split() == ["True", "True"]


def test_another_version_of_milvus_lite_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    original = engine.execute_search_with_index
    monkeypatch.setattr(reads, "version", lambda _: "3.3.0")
    assert not reads.install()
    assert engine.execute_search_with_index is original


def test_collection_counts_as_loaded_when_its_indexes_are_built(tmp_path: Path) -> None:
    with MilvusLite(str(tmp_path / "db")) as database:
        collection = database.create_collection("a", schema())
        is_built = threading.Event()
        collection._bg_executor.submit(is_built.wait)  # as an index that is being built
        loading = threading.Thread(target=reads._patient_load(engine.Collection.load), args=(collection,))
        loading.start()
        loading.join(0.2)
        assert loading.is_alive()
        is_built.set()
        loading.join(10)
        assert not loading.is_alive()
