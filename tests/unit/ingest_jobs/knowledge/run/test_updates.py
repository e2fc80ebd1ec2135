"""Single documents put into a version: once or twice, over a source's or alone, and refused without a trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployments.stores.change_log import DocumentChange
from ingest_jobs.knowledge.read.dataset import Dataset
from ingest_jobs.knowledge.read.documents import Unreadable, subject_digest
from ingest_jobs.knowledge.read.stages import FROM_UPDATE, doc_key
from ingest_jobs.knowledge.run.pipeline import JobPlan
from ingest_jobs.knowledge.run.updates import ChangeWriter, dataset_for
from ingest_jobs.knowledge.store.blobs import MemoryBlobs, get_json
from ingest_jobs.knowledge.store.records import erase_subject, removed_name, save_dataset
from pipelines.errors import EngineError
from tests.unit.ingest_jobs.knowledge.memory_milvus import Bench, bench_on, row

pytestmark = pytest.mark.unit
DATASET = Dataset.model_validate({"embedding": {"engine": "scripted"}, "masking": {"kinds": []}})
SOURCE = row("a.md", "A of the source.")
BASE = SOURCE["doc_hash"].partition("/")[0]


class Updates:
    """A live version with two documents of a source, and a writer of changes to it."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.blobs = bench, MemoryBlobs()
        rows = [SOURCE, row("a.md", "More of A.", part=1), row("b.md", "B of the source.")]
        self.live = bench.version([*rows, row("a.md", "Theirs.", tenant="other")])
        plan = JobPlan(DATASET, "default", "memory", "knowledge", bench.root)
        self.writer = ChangeWriter(plan, bench.store(), bench.encoder, self.blobs)

    def apply(self, doc_id: str, kind: Any = "put", *, dataset: Dataset = DATASET, **fields: str) -> None:
        self.writer.apply(self.live, DocumentChange("default", doc_id, kind, **fields), dataset)

    def texts(self, tenant: str = "default") -> set[str]:
        return self.bench.texts(self.live, tenant)

    def origins(self, doc_id: str) -> set[str]:
        rows = self.bench.rows(self.live, "default").values()
        return {each["origin"] for each in rows if each["doc_id"] == doc_id}

    def removed(self, doc_id: str) -> Any:
        return get_json(self.blobs, removed_name("knowledge", "default", doc_key(doc_id)))


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Updates:
    return Updates(bench_on(monkeypatch, tmp_path))


def test_new_document_is_added_section_by_section_and_applying_it_twice_changes_nothing(updates: Updates) -> None:
    for _ in range(2):
        updates.apply("news/1", title="News", text="We open at nine.\n\n## Sunday\nClosed.")
    assert updates.texts() == {"A of the source.", "More of A.", "B of the source.", "We open at nine.", "Closed."}
    assert updates.origins("news/1") == {FROM_UPDATE}
    assert updates.texts("other") == {"Theirs."}


def test_document_over_a_sources_replaces_all_of_it_and_remembers_what_the_source_said(updates: Updates) -> None:
    updates.apply("a.md", text="A is sold out.")
    assert updates.texts() == {"A is sold out.", "B of the source."}
    assert updates.origins("a.md") == {f"{FROM_UPDATE}{BASE}"}
    updates.apply("a.md", text="A is back.")  # over an update: what lies under it is still the source's
    assert updates.origins("a.md") == {f"{FROM_UPDATE}{BASE}"}
    assert updates.texts() == {"A is back.", "B of the source."}


def test_shorter_document_leaves_none_of_the_longer_one(updates: Updates) -> None:
    updates.apply("news/1", text="## One\nFirst.\n\n## Two\nSecond.")
    updates.apply("news/1", text="## One\nFirst.")
    assert updates.texts() & {"First.", "Second."} == {"First."}


def test_removed_document_is_remembered_by_what_the_source_said_until_it_is_put_again(updates: Updates) -> None:
    for _ in range(2):  # twice: the rows that told of the source are gone the second time
        updates.apply("a.md", "delete")
        assert updates.texts() == {"B of the source."}
        assert updates.removed("a.md") == {"base": BASE}
    updates.apply("a.md", text="A is back.")
    assert updates.removed("a.md") is None
    assert updates.origins("a.md") == {f"{FROM_UPDATE}{BASE}"}


def test_removal_of_a_document_that_is_nowhere_is_remembered_without_a_base(updates: Updates) -> None:
    updates.apply("nowhere", "delete")
    assert updates.removed("nowhere") == {"base": ""}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": "<script>steal()</script>"}, "holds a script"),
        ({"text": "x", "title": "<script>steal()</script>"}, "holds a script"),
        ({"text": "Ann wrote.", "subject": "ann"}, "the person it is about was erased"),
        ({"text": "x", "fields": "{oops"}, "its fields are not a JSON object"),
        ({"text": "x", "fields": "[1]"}, "its fields are not a JSON object"),
        ({"text": "x", "fields": '{"colour": "blue"}'}, "field colour is not declared by the dataset"),
        ({"text": "x", "expires_at": "soon"}, "its date is not written as YYYY-MM-DD"),
    ],
)
def test_document_that_cannot_be_indexed_is_refused_with_the_reason_and_changes_nothing(
    updates: Updates, fields: dict[str, str], reason: str
) -> None:
    erase_subject(updates.blobs, "default", subject_digest("default", "ann"), "receipt", 1.0)
    before = updates.bench.rows(updates.live)
    with pytest.raises(Unreadable, match=reason):
        updates.apply("a.md", **fields)
    assert updates.bench.rows(updates.live) == before
    assert updates.removed("a.md") is None


def test_document_is_masked_cut_and_typed_as_the_tenants_description_says(updates: Updates) -> None:
    described = {"embedding": {"engine": "scripted"}, "fields": {"price": "number"}}
    fields = json.dumps({"price": 12.5})
    updates.apply("x", text="Write to ann@example.com.", dataset=Dataset.model_validate(described), fields=fields)
    (found,) = [each for each in updates.bench.rows(updates.live).values() if each["doc_id"] == "x"]
    assert found["text"] == "Write to [email]."
    assert 12.5 in found.values()


def test_document_without_a_date_is_of_today_and_times_of_day_are_cut_off(updates: Updates) -> None:
    updates.apply("x", text="X.", updated_at="2026-01-31T09:00:00Z", expires_at="2099-01-01T00:00:00Z")
    updates.apply("y", text="Y.")
    rows = {each["doc_id"]: each for each in updates.bench.rows(updates.live, "default").values()}
    assert rows["x"]["updated_at"] == "2026-01-31"
    assert rows["x"]["expires_at"] == 4_070_908_800
    assert len(rows["y"]["updated_at"]) == len("2026-01-31")


def test_description_of_a_change_is_its_tenants_last_one_or_the_defaults() -> None:
    blobs = MemoryBlobs()
    save_dataset(blobs, "knowledge", "acme", DATASET)
    assert dataset_for(blobs, "knowledge", DocumentChange("acme", "x", "put")) == DATASET
    assert dataset_for(blobs, "knowledge", DocumentChange("other", "x", "put")) == Dataset()


@pytest.mark.parametrize("tenant", ["../acme", "", 'a" or "', "a b"])
def test_tenant_that_is_no_name_does_not_become_part_of_a_path(tenant: str) -> None:
    with pytest.raises(EngineError, match="tenant name") as caught:
        dataset_for(MemoryBlobs(), "knowledge", DocumentChange(tenant, "x", "put"))
    assert not caught.value.retryable
