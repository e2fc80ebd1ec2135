"""What is written for a bulk import, and how Milvus answers are taken. Milvus is scripted: no cluster runs here."""

from __future__ import annotations

import io
import json
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deployments.engines.milvus.bulk import BulkImport
from deployments.engines.milvus.schema import DENSE, IndexedPassage, unpack_vectors
from pipelines.errors import EngineError

pytestmark = pytest.mark.unit


class Bucket:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def upload(self, path: Path, name: str) -> None:
        self.objects[name] = path.read_bytes()


class ScriptedMilvus:
    """Answers `describe` with one state after the other."""

    def __init__(self, states: list[dict[str, object]], refusal: str = "") -> None:
        self.states = states
        self.refusal = refusal
        self.asked: list[tuple[str, dict[str, object]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path.rpartition("/")[2], json.loads(request.content)))
        if self.refusal:
            return httpx.Response(200, json={"code": 1100, "message": self.refusal})
        if self.asked[-1][0] == "create":
            return httpx.Response(200, json={"code": 0, "data": {"jobId": 449}})
        return httpx.Response(200, json={"code": 0, "data": self.states.pop(0)})


def importer(milvus: ScriptedMilvus, bucket: Bucket) -> BulkImport:
    http = httpx.Client(base_url="http://milvus:19530", transport=httpx.MockTransport(milvus))
    return BulkImport("http://milvus:19530", bucket.upload, "jobs/7/", http=http)


def passages(count: int) -> list[IndexedPassage]:
    vectors = np.eye(8, dtype=np.float32)
    return [
        IndexedPassage(f"k{n}", "alpha", "Note", f"Fact {n}.", "n.md", "2026-01-01", vectors[n % 8], vectors[:2])
        for n in range(count)
    ]


def test_files_hold_every_column_but_the_bm25_vector() -> None:
    bucket = Bucket()
    names = importer(ScriptedMilvus([]), bucket).write(passages(5), file_rows=2)
    assert names == [f"jobs/7/part-0000{n}.parquet" for n in range(3)] == list(bucket.objects)
    table = pq.read_table(io.BytesIO(bucket.objects[names[0]]))
    assert {"pk", "tenant", "text", "terms", "sentence_vectors", DENSE} <= set(table.column_names)
    assert "sparse" not in table.column_names
    assert table.schema.field(DENSE).type == pa.list_(pa.float32())
    assert table.column(DENSE)[1].as_py() == np.eye(8)[1].tolist()
    assert unpack_vectors(table.column("sentence_vectors")[0].as_py(), 8).shape == (2, 8)


def test_import_is_waited_for() -> None:
    running = [{"state": "Pending", "progress": 0}, {"state": "Importing", "progress": 40}]
    milvus = ScriptedMilvus([*running, {"state": "Completed", "progress": 100, "importedRows": 5}])
    shown: list[int] = []
    assert importer(milvus, Bucket()).run("knowledge_v1", ["a.parquet", "b.parquet"], on_progress=shown.append) == 5
    assert shown == [0, 40, 100]
    create, *described = milvus.asked
    assert create == ("create", {"collectionName": "knowledge_v1", "files": [["a.parquet"], ["b.parquet"]]})
    assert described == [("describe", {"jobId": "449"})] * 3


def test_failed_import_tells_its_reason() -> None:
    milvus = ScriptedMilvus([{"state": "Failed", "reason": "schema not equal"}])
    with pytest.raises(EngineError, match="schema not equal") as failure:
        importer(milvus, Bucket()).run("knowledge_v1", ["a.parquet"])
    assert not failure.value.retryable


def test_refused_import_is_an_error() -> None:
    with pytest.raises(EngineError, match="no permission"):
        importer(ScriptedMilvus([], refusal="no permission"), Bucket()).run("knowledge_v1", ["a.parquet"])


def test_import_that_never_ends_is_given_up() -> None:
    milvus = ScriptedMilvus([{"state": "Importing"}] * 50)
    with pytest.raises(EngineError) as failure:
        importer(milvus, Bucket()).run("knowledge_v1", ["a.parquet"], timeout_s=0.0)
    assert failure.value.retryable
