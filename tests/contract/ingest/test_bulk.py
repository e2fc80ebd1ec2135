"""A large build by bulk import. milvus-lite has none: whether the server can is answered by the test, and the import's
REST interface is played by it too, on the real files and the real store."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet
import pytest

from deployments.engines.milvus.bulk import BulkImport
from deployments.engines.milvus.versions import VersionStore
from ingest_jobs.knowledge.operate.erasure import erase
from ingest_jobs.knowledge.store.staging import STAGED
from pipelines.errors import EngineError
from tests.contract.ingest.workshop import TABLE, CountingEncoder, Workshop

pytestmark = pytest.mark.contract


class ImportingMilvus:
    """Answers as Milvus's import interface does, and writes the files' rows to the store behind it."""

    def __init__(self, workshop: Workshop, bucket: Path) -> None:
        self._workshop, self._bucket = workshop, bucket
        self.files: list[str] = []
        self.rows = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        if request.url.path.endswith("create"):
            for (name,) in asked["files"]:
                self.files.append(name)
                self._take(asked["collectionName"], pyarrow.parquet.read_table(self._bucket / name).to_pylist())
            return httpx.Response(200, json={"code": 0, "data": {"jobId": "1"}})
        state = {"state": "Completed", "progress": 100, "importedRows": self.rows}
        return httpx.Response(200, json={"code": 0, "data": state})

    def _take(self, collection: str, rows: list[dict[str, Any]]) -> None:
        # An import never replaces: a key that comes twice is two rows on a real server.
        assert len({row["pk"] for row in rows}) == len(rows)
        self.rows += len(rows)
        store = VersionStore(self._workshop.uri, self._workshop.alias)
        store.rows.write(collection, rows)
        store.close()


@pytest.fixture
def milvus(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImportingMilvus:
    played = ImportingMilvus(workshop, tmp_path / "bucket")
    client = httpx.Client(base_url="http://milvus", transport=httpx.MockTransport(played))
    monkeypatch.setattr("ingest_jobs.knowledge.run.bulk.BulkImport", partial(BulkImport, http=client))
    monkeypatch.setattr("ingest_jobs.knowledge.run.bulk.BULK_FROM_ROWS", 10)
    monkeypatch.setattr(VersionStore, "can_import", lambda _: True)
    return played


def test_imported_version_equals_a_written_one(workshop: Workshop, milvus: ImportingMilvus, tmp_path: Path) -> None:
    workshop.write_notes(30)
    report = workshop.run(bulk_url=str(tmp_path / "bucket"))
    assert (report.imported, milvus.rows, report.chunks) == (60, 60, 60)
    assert list(workshop.blobs.names(STAGED)) == []
    imported = workshop.rows()
    assert workshop.run(is_forced=True).imported == 0  # without a bucket
    assert workshop.rows() == imported


def test_batches_that_were_lost_are_written_afterwards(
    workshop: Workshop, milvus: ImportingMilvus, tmp_path: Path
) -> None:
    workshop.write_notes(30)

    def lose() -> None:
        for name in list(workshop.blobs.names(STAGED))[:1]:
            workshop.blobs.delete(name)

    report = workshop.run(CountingEncoder(at={80: lose}), bulk_url=str(tmp_path / "bucket"))
    assert 0 < report.imported < 60
    assert len(workshop.rows()) == 60


def test_job_that_died_before_its_import_is_taken_up_and_ends_whole(
    workshop: Workshop, milvus: ImportingMilvus, tmp_path: Path
) -> None:
    workshop.describe(TABLE)
    workshop.write_notes(30)
    workshop.write_people([("1", "ann", "Ann wrote a letter.")])

    def die() -> None:
        raise EngineError("ingest", "the driver ends here", retryable=False)

    with pytest.raises(EngineError):
        workshop.run(CountingEncoder(at={80: die}), bulk_url=str(tmp_path / "bucket"))
    assert list(workshop.blobs.names(STAGED))
    erase([workshop.store()], workshop.blobs, [], "default", "ann")
    report = workshop.run(bulk_url=str(tmp_path / "bucket"))
    assert (report.resumed, report.imported, list(workshop.blobs.names(STAGED))) == (True, 0, [])
    assert len(workshop.rows()) == 60


def test_server_without_an_import_is_written_to_row_by_row(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest_jobs.knowledge.run.bulk.BULK_FROM_ROWS", 1)
    workshop.write_notes(3)
    report = workshop.run(bulk_url=str(tmp_path / "bucket"))
    assert (report.imported, len(workshop.rows())) == (0, 6)
    assert not (tmp_path / "bucket").exists()
