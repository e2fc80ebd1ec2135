"""One job at a time, expired documents, and the small facts that outlive a job."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deployments.engines.milvus.versions import VersionStore
from ingest_jobs.knowledge.read.dataset import Dataset
from ingest_jobs.knowledge.store.blobs import MemoryBlobs, put_json
from ingest_jobs.knowledge.store.exclusive import exclusive
from ingest_jobs.knowledge.store.expiry import delete_expired
from ingest_jobs.knowledge.store.records import (
    erase_subject,
    erased_subjects,
    is_erased,
    overrides,
    removed_name,
    save_dataset,
    saved_dataset,
)
from pipelines.errors import CapacityError

pytestmark = pytest.mark.unit


class Rows:
    """Rows of versions; those of the first release have no ledger."""

    def __init__(self, *, without_ledger: str = "") -> None:
        self.without_ledger = without_ledger
        self.deleted: list[tuple[str, ...]] = []
        self.scanned: list[dict[str, str]] = []

    def has_ledger(self, version: str) -> bool:
        return version != self.without_ledger

    def delete(self, version: str, tenant: str, *only: str) -> int:
        self.deleted.append((version, tenant, *only))
        return {"v1": 5, "v2": 3}[version]

    def scan(self, *_asked: object) -> list[dict[str, str]]:
        return self.scanned


def store(rows: Rows, live: str | None, loaded: list[str] | None = None) -> VersionStore:
    return cast(
        "VersionStore",
        SimpleNamespace(
            alias="knowledge",
            rows=rows,
            live_collection=lambda: live,
            versions=lambda: ["v1", "v2"],
            load=(loaded if loaded is not None else []).append,
        ),
    )


def test_second_job_of_a_folder_is_told_that_another_works(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    with exclusive("knowledge", client=None, folder=folder, wait_s=0):
        with (
            pytest.raises(CapacityError, match="another job works on knowledge: `voxray ingest list`"),
            exclusive("knowledge", client=None, folder=folder, wait_s=0),
        ):
            pytest.fail("both have it")
        with exclusive("other", client=None, folder=folder, wait_s=0):
            assert folder.stat().st_mode & 0o777 == 0o700
    with exclusive("knowledge", client=None, folder=folder, wait_s=0):
        assert (folder / "knowledge.lock").exists()


def test_lease_is_taken_under_its_name_and_given_back_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Lock:
        def __init__(self, _client: object, name: str, **options: Any) -> None:
            events.append(name)
            assert options["thread_local"] is False

        def acquire(self, blocking_timeout: float) -> bool:
            assert blocking_timeout >= 0
            return "taken" not in events

        def reacquire(self) -> None:
            events.append("renewed")

        def release(self) -> None:
            events.append("released")

    monkeypatch.setattr("ingest_jobs.knowledge.store.exclusive.redis.lock.Lock", Lock)
    client: Any = object()
    with pytest.raises(ValueError, match="broke"), exclusive("knowledge", client=client, folder=None, wait_s=0):
        raise ValueError("broke")
    assert events == ["voxray:lock:knowledge", "released"]
    events.append("taken")
    with pytest.raises(CapacityError), exclusive("knowledge", client=client, folder=None, wait_s=0):
        pytest.fail("another has it")
    assert events[-1] == "voxray:lock:knowledge"


def test_expired_documents_leave_every_version_and_those_of_the_live_one_count() -> None:
    rows, loaded = Rows(), list[str]()
    assert delete_expired(store(rows, "v2", loaded), "acme", now_s=86_400.0) == 3
    assert [deleted[:2] for deleted in rows.deleted] == [("v1", "acme"), ("v2", "acme")]
    assert all("86400" in deleted[2] for deleted in rows.deleted)
    assert loaded == ["v1", "v2"]


def test_version_that_knows_no_expiry_is_left_alone() -> None:
    rows = Rows(without_ledger="v1")
    assert delete_expired(store(rows, None), "acme", now_s=0.0) == 0
    assert [deleted[0] for deleted in rows.deleted] == ["v2"]


def test_description_is_kept_by_alias_and_tenant() -> None:
    blobs = MemoryBlobs()
    dataset = Dataset(name="shop", tenant="acme")
    save_dataset(blobs, "knowledge", "acme", dataset)
    assert saved_dataset(blobs, "knowledge", "acme") == dataset
    assert saved_dataset(blobs, "knowledge", "other") == Dataset()
    assert saved_dataset(blobs, "elsewhere", "acme") == Dataset()


def test_documents_that_updates_put_or_removed_are_found_with_what_lay_under_them() -> None:
    blobs, rows = MemoryBlobs(), Rows()
    put_json(blobs, removed_name("knowledge", "acme", "d1"), {"base": "h1"})
    put_json(blobs, removed_name("knowledge", "acme2", "d9"), {"base": "h9"})
    rows.scanned = [{"doc": "d2", "origin": "live/h2"}, {"doc": "d3", "origin": "live/"}]
    assert overrides(blobs, store(rows, "v2"), "v2", "acme") == {"d1": "h1", "d2": "h2", "d3": ""}
    assert overrides(blobs, store(rows, None), "", "acme") == {"d1": "h1"}


def test_erased_person_stays_erased_for_one_tenant() -> None:
    blobs = MemoryBlobs()
    erase_subject(blobs, "acme", "ab12", "receipt", 1.0)
    erase_subject(blobs, "other", "cd34", "receipt", 2.0)
    assert is_erased(blobs, "acme", "ab12")
    assert not is_erased(blobs, "other", "ab12")
    assert erased_subjects(blobs) == {"acme": {"ab12"}, "other": {"cd34"}}
    assert erased_subjects(blobs, "acme") == {"acme": {"ab12"}}
