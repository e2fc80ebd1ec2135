"""The whole job in this process against a real Milvus: full, incremental, gate, rollback, expiry."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest

from ingest_jobs.knowledge.operate.admin import ACTIONS
from ingest_jobs.knowledge.read.dataset import load_dataset
from ingest_jobs.knowledge.run.incremental import MAX_CHANGED_SHARE
from ingest_jobs.knowledge.run.job import plan_of
from ingest_jobs.knowledge.run.pipeline import Encoder, JobPlan, LazyEncoder
from ingest_jobs.knowledge.run.quality import GateFailed
from ingest_jobs.knowledge.run.reindex import open_job, reindex_in_process
from ingest_jobs.knowledge.run.reporting import REPORTS, Report
from pipelines.errors import CapacityError, ConfigError
from tests.contract.ingest.workshop import TABLE, CountingEncoder, Workshop, note

pytestmark = pytest.mark.contract


def act(workshop: Workshop, action: str, **options: bool) -> dict[str, object]:
    job = open_job(workshop.request(), lambda *_: iter(()))
    try:
        return ACTIONS[action](job, Namespace(**{"retry": False, "forget": False, **options}))
    finally:
        job.close()


def test_first_run_makes_a_version_and_a_report_that_stays(workshop: Workshop) -> None:
    workshop.write_notes(10)
    workshop.write("bad.jsonl", "{oops\n")
    report = workshop.run()
    assert (report.mode, report.documents, report.chunks, report.embedded, report.refused) == ("full", 10, 20, 20, 1)
    saved = json.loads((workshop.objects / f"{REPORTS}default/{report.job}.json").read_text())
    assert saved["state"] == "done"
    assert saved["refusals"] == ["bad.jsonl, line 1: not JSON (Expecting property name enclosed in double quotes)"]
    assert workshop.docs() == {f"note{n:04}.md" for n in range(10)}


def test_second_run_embeds_only_what_changed_and_equals_a_full_run(workshop: Workshop) -> None:
    workshop.write_notes(30)
    workshop.run()
    workshop.write("note0003.md", "# Note 3\n\nAll is new, and in one section.\n")
    workshop.write_notes(1, start=40)
    (workshop.folder() / "note0007.md").unlink()
    encoder = CountingEncoder()
    report = workshop.run(encoder)
    assert (report.mode, report.changed, report.removed, report.embedded) == ("incremental", 2, 1, 3)
    assert encoder.texts == 3 + 1 + 1 + 2  # three passages, and their sentences
    edited = workshop.rows()
    assert workshop.run().mode == "unchanged"
    assert workshop.run(is_forced=True).mode == "full"
    assert workshop.rows() == edited


def test_run_without_anything_to_embed_loads_no_encoder(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_encoder(_plan: JobPlan) -> Encoder:
        raise AssertionError("the encoder was loaded")

    workshop.write_notes(10)
    workshop.run()
    monkeypatch.setattr(JobPlan, "open_encoder", open_encoder)

    def run() -> Report:
        request = workshop.request()
        return reindex_in_process(request, LazyEncoder(plan_of(request, load_dataset(request.source))))

    assert run().mode == "unchanged"
    (workshop.folder() / "note0007.md").unlink()
    assert run().removed == 1
    workshop.write("note0003.md", note(3, "weighs"))
    with pytest.raises(AssertionError, match="was loaded"):
        run()


def test_many_changes_or_another_description_make_a_new_version(workshop: Workshop) -> None:
    workshop.write_notes(10)
    first = workshop.run()
    workshop.write_notes(int(10 * MAX_CHANGED_SHARE) + 1, say="weighs")
    second = workshop.run()
    assert (second.mode, second.previous) == ("full", first.collection)
    workshop.describe("chunking: {max_tokens: 64}\n")
    assert workshop.run().mode == "full"


def test_too_much_set_aside_fails_the_job_before_the_switch(workshop: Workshop) -> None:
    workshop.write_notes(10)
    live = workshop.run().collection
    workshop.write("bad.jsonl", "{oops\n" * 5)
    for is_forced in (False, True):
        with pytest.raises(GateFailed, match=r"bad\.jsonl, line 1: not JSON"):
            workshop.run(is_forced=is_forced)
    assert workshop.store().versions() == [live]
    assert workshop.store().live_collection() == live


def test_version_with_far_fewer_rows_does_not_go_live(workshop: Workshop) -> None:
    workshop.write_notes(20)
    live = workshop.run().collection
    for number in range(4, 20):
        (workshop.folder() / f"note{number:04}.md").unlink()
    with pytest.raises(GateFailed, match=r"rows beside those of the live version: 0\.20"):
        workshop.run()
    assert workshop.store().live_collection() == live
    assert len(workshop.rows()) == 40


def test_golden_questions_must_find_their_source(workshop: Workshop) -> None:
    workshop.write_notes(20)
    golden = [{"question": "note 3 price item costs 21 dollars", "source": "note0003.md"}]
    workshop.write("golden.jsonl", json.dumps(golden[0]))
    more = "quality: {golden: golden.jsonl, golden_top: 3, min_golden_recall: 1.0}\n"
    more += "sources: [{kind: folder, exclude: [golden.jsonl]}]\n"
    workshop.describe(more)
    assert workshop.run().gate["golden_recall"] == 1.0
    workshop.write("golden.jsonl", json.dumps({**golden[0], "source": "gone.md"}))
    with pytest.raises(GateFailed, match="golden"):
        workshop.run(is_forced=True)


def test_empty_or_missing_sources_are_the_operator_s_error(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match="no readable business data"):
        workshop.run()
    assert workshop.store().versions() == []


def test_rollback_takes_back_an_incremental_run_and_then_the_full_one(workshop: Workshop) -> None:
    workshop.write_notes(20)
    workshop.run()
    before_full = workshop.rows()
    workshop.write_notes(20, say="weighs")
    workshop.run()
    before_edit = workshop.rows()
    workshop.write_notes(2, say="spans")
    workshop.write_notes(1, start=90)
    (workshop.folder() / "note0011.md").unlink()
    assert workshop.run().mode == "incremental"
    assert workshop.rows() != before_edit
    act(workshop, "rollback")
    assert workshop.rows() == before_edit
    act(workshop, "rollback")
    assert workshop.rows() == before_full
    with pytest.raises(ConfigError):
        act(workshop, "rollback")


def test_diff_names_what_a_run_would_change_and_changes_nothing(workshop: Workshop) -> None:
    workshop.write_notes(10)
    workshop.run()
    before = workshop.rows()
    workshop.write("note0003.md", note(3, "weighs"))
    workshop.write("fresh.md", "# Fresh\nNew.\n")
    (workshop.folder() / "note0007.md").unlink()
    answer = act(workshop, "diff")
    assert (answer["new"], answer["changed"], answer["removed"]) == (["fresh.md"], ["note0003.md"], ["note0007.md"])
    assert workshop.rows() == before


def test_expired_documents_leave_with_the_next_run_and_do_not_come_in(workshop: Workshop) -> None:
    workshop.describe("tables: {p.csv: {expires_at: until}}\n")
    workshop.write("p.csv", "name,until\nOld,2020-01-01\nNew,2099-01-01\nSame,\n")
    report = workshop.run()
    assert (report.documents, report.expired) == (2, 1)
    assert {row["title"] for row in workshop.rows().values()} == {"New", "Same"}


def test_two_jobs_on_one_collection_do_not_run_at_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest_jobs.knowledge.run.job._LOCK_WAIT_S", 0.1)
    workshop.write_notes(20)
    refused: list[str] = []

    def try_another() -> None:
        with pytest.raises(CapacityError) as caught:
            workshop.run()
        refused.append(str(caught.value))

    workshop.run(CountingEncoder(at={20: try_another}))
    assert len(refused) == 1


def test_documents_of_one_id_in_two_sources_are_counted(workshop: Workshop) -> None:
    workshop.describe("sources: [{kind: folder}, {kind: folder}]\n" + TABLE)
    workshop.write_notes(2)
    assert workshop.run().duplicates == 2
