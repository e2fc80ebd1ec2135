"""The way back: one tenant's rows as they were, everybody else's untouched, and live updates kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployments.engines.milvus.versions import HistoryEntry
from ingest_jobs.knowledge.read.stages import FROM_UPDATE, doc_key
from ingest_jobs.knowledge.run.rollback import FULL, INCREMENTAL, OPEN, drop_stale_undo, roll_back
from ingest_jobs.knowledge.store.blobs import MemoryBlobs
from ingest_jobs.knowledge.store.undo import undo_name, write_undo
from pipelines.errors import ConfigError
from tests.unit.ingest_jobs.knowledge.memory_milvus import DIMENSIONS, Bench, bench_on, row

pytestmark = pytest.mark.unit
UNDO = undo_name("knowledge", "default", "job-2")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return bench_on(monkeypatch, tmp_path)


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


def back(bench: Bench, blobs: MemoryBlobs, tenant: str = "default") -> str:
    return roll_back(bench.store(), blobs, None, tenant, DIMENSIONS)


def enter(bench: Bench, version: str, *entries: HistoryEntry, tenant: str = "default") -> None:
    bench.store().set_history(version, tenant, entries)


def edited(bench: Bench, blobs: MemoryBlobs, kind: str = INCREMENTAL) -> list[dict[str, Any]]:
    """Make a live version that a run has edited: b changed, c removed, d added; return the rows before."""
    before = [row("a.md", "A stays."), row("b.md", "B was."), row("c.md", "C was.")]
    live = bench.version([row("a.md", "A stays."), row("b.md", "B is."), row("d.md", "D is.")])
    write_undo(blobs, UNDO, before[1:], [doc_key(name) for name in ("b.md", "c.md", "d.md")])
    enter(bench, live, HistoryEntry(FULL, "job-1", 1.0), HistoryEntry(kind, "job-2", 2.0, undo=UNDO))
    return before


def test_tenant_without_a_run_has_nothing_to_go_back_to(bench: Bench, blobs: MemoryBlobs) -> None:
    with pytest.raises(ConfigError, match="tenant default: nothing to roll back in knowledge"):
        back(bench, blobs)
    enter(bench, bench.version([row("a.md", "A.")]), HistoryEntry(FULL, "job-1", 1.0), tenant="other")
    with pytest.raises(ConfigError, match="tenant default: nothing to roll back"):
        back(bench, blobs)


@pytest.mark.parametrize("kind", [INCREMENTAL, OPEN])
def test_edit_is_taken_back_row_by_row_whether_it_ended_or_not(bench: Bench, blobs: MemoryBlobs, kind: str) -> None:
    before = edited(bench, blobs, kind)
    live = bench.milvus.aliases["knowledge"]
    assert back(bench, blobs) == f"{live}: the incremental run job-2 is taken back"
    assert {key: each["text"] for key, each in bench.rows().items()} == {each["pk"]: each["text"] for each in before}
    assert [entry.job for entry in bench.store().history(live, "default")] == ["job-1"]
    assert list(blobs.names("ingest/undo/")) == []


def test_edit_is_taken_back_around_documents_that_live_updates_wrote(bench: Bench, blobs: MemoryBlobs) -> None:
    edited(bench, blobs)
    live = bench.milvus.aliases["knowledge"]
    updates = [row("b.md", "B is sold out.", origin=f"{FROM_UPDATE}x"), row("d.md", "D, newer.", origin=FROM_UPDATE)]
    bench.store().rows.write(live, updates)
    back(bench, blobs)
    assert bench.texts() == {"A stays.", "B is sold out.", "C was.", "D, newer."}


def test_edit_without_its_undo_file_is_not_half_taken_back(bench: Bench, blobs: MemoryBlobs) -> None:
    edited(bench, blobs)
    blobs.delete(UNDO)
    before = bench.rows()
    with pytest.raises(ConfigError, match="the undo file of run job-2 is gone"):
        back(bench, blobs)
    assert bench.rows() == before
    assert len(bench.store().history(bench.milvus.aliases["knowledge"], "default")) == 2


def test_full_run_of_a_tenant_alone_is_taken_back_by_moving_the_alias(bench: Bench, blobs: MemoryBlobs) -> None:
    old = bench.version([row("a.md", "A was.")])
    new = bench.version([row("a.md", "A is."), row("n.md", "News.", origin=FROM_UPDATE)])
    enter(bench, new, HistoryEntry(FULL, "job-2", 2.0, previous=old))
    assert back(bench, blobs) == f"knowledge -> {old}: the rows of tenant default are those of {old}"
    assert bench.milvus.aliases == {"knowledge": old}
    assert bench.texts() == {"A was.", "News."}


def test_document_that_a_live_update_changed_keeps_the_update_over_the_older_text(
    bench: Bench, blobs: MemoryBlobs
) -> None:
    old = bench.version([row("a.md", "A was."), row("a.md", "A was, too.", part=1), row("b.md", "B was.")])
    new = bench.version([row("a.md", "A is sold out.", origin=f"{FROM_UPDATE}x"), row("b.md", "B is.")])
    enter(bench, new, HistoryEntry(FULL, "job-2", 2.0, previous=old))
    back(bench, blobs)
    assert bench.texts() == {"A is sold out.", "B was."}


def test_other_tenants_rows_stay_the_newest_when_one_goes_back(bench: Bench, blobs: MemoryBlobs) -> None:
    theirs_then, theirs_now = row("a.md", "Theirs was.", tenant="other"), row("a.md", "Theirs is.", tenant="other")
    bench.version([theirs_then], tenant="other")
    old = bench.version([row("a.md", "A was.")])
    new = bench.version([row("a.md", "A is.")])
    bench.store().rows.write(new, [theirs_now])
    enter(bench, old, HistoryEntry(FULL, "job-1", 1.0))
    enter(bench, new, HistoryEntry(FULL, "job-2", 2.0, previous=old))
    said = back(bench, blobs)
    composed = bench.milvus.aliases["knowledge"]
    assert composed not in {old, new}
    assert said.startswith(f"knowledge -> {composed}")
    assert bench.texts(tenant="default") == {"A was."}
    assert bench.texts(tenant="other") == {"Theirs is."}
    assert bench.texts(old, "other") == {"Theirs was."}
    # One may go back further from there.
    assert [entry.job for entry in bench.store().history(composed, "default")] == ["job-1"]


def test_version_that_was_pruned_is_no_way_back(bench: Bench, blobs: MemoryBlobs) -> None:
    live = bench.version([row("a.md", "A.")])
    enter(bench, live, HistoryEntry(FULL, "job-2", 2.0, previous="knowledge_v1500000000000"))
    with pytest.raises(ConfigError, match="the version before run job-2 is not kept"):
        back(bench, blobs)
    assert bench.milvus.aliases == {"knowledge": live}


def test_undo_files_that_no_history_names_are_removed_and_those_of_other_aliases_kept(
    bench: Bench, blobs: MemoryBlobs
) -> None:
    edited(bench, blobs)
    stale, elsewhere = undo_name("knowledge", "default", "job-0"), undo_name("other", "default", "job-0")
    for name in (stale, elsewhere):
        write_undo(blobs, name, [], ["d"])
    drop_stale_undo(bench.store(), blobs)
    kept = {name for name in blobs.names("ingest/undo/") if name.endswith(".parquet")}
    assert kept == {UNDO, elsewhere}
    assert blobs.get(f"{stale}.docs") is None
