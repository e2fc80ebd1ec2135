"""A full run: what it makes live, what it finds lost, and what stays when it ends early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingest_jobs.knowledge.read.documents import Unit, subject_digest
from ingest_jobs.knowledge.read.stages import FROM_UPDATE
from ingest_jobs.knowledge.run import full
from ingest_jobs.knowledge.run.full import run_full
from ingest_jobs.knowledge.run.job import Job
from ingest_jobs.knowledge.run.journal import Journal
from ingest_jobs.knowledge.run.pipeline import JobPlan
from ingest_jobs.knowledge.run.quality import GateFailed
from ingest_jobs.knowledge.store.records import erase_subject
from ingest_jobs.knowledge.store.rows import Row
from pipelines.errors import ConfigError, EngineError
from tests.unit.ingest_jobs.knowledge.memory_milvus import Bench, bench_on, row

pytestmark = pytest.mark.unit
PEOPLE = "tables: {people.csv: {title: '{name}', id: id, subject: person, sentences: [{say: '{text}'}]}}\n"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    made = bench_on(monkeypatch, tmp_path)
    write_notes(made, 6)
    return made


def write_notes(bench: Bench, number: int, say: str = "costs") -> None:
    for each in range(number):
        bench.write(f"note{each}.md", f"# Note {each}\n\nItem {each} {say} {7 * each} dollars.\n")


def run(job: Job) -> Job:
    with closing(job), closing(Journal()) as journal:
        run_full(job, journal)
    return job


def test_version_goes_live_whole_and_remembers_how_to_go_back(bench: Bench) -> None:
    first = run(bench.open_job()).reporter.report
    assert (first.mode, first.documents, first.embedded, first.resumed) == ("full", 6, 6, False)
    assert bench.milvus.aliases == {"knowledge": first.collection}
    assert len(bench.texts()) == 6
    write_notes(bench, 6, "weighs")
    second = run(bench.open_job()).reporter.report
    assert second.previous == first.collection
    store = bench.store()
    (entry,) = store.history(second.collection, "default")
    assert (entry.kind, entry.job, entry.previous) == ("full", second.job, first.collection)
    assert store.unfinished() == {}
    assert all("weighs" in text for text in bench.texts())
    assert all("costs" in text for text in bench.texts(first.collection))


def test_chunks_that_the_store_lost_are_found_and_written_again(bench: Bench) -> None:
    run(bench.open_job())
    lost = sorted(bench.rows())[:2]
    bench.milvus.loses = list(lost)
    report = run(bench.open_job(is_forced=True)).reporter.report
    assert set(lost) <= set(bench.rows())
    assert report.embedded == 6 + 2
    assert "completing" in report.stages_s


def test_store_that_keeps_losing_ends_the_run_and_the_next_one_takes_its_version_up(bench: Bench) -> None:
    live = run(bench.open_job()).reporter.report.collection
    write_notes(bench, 6, "weighs")
    stubborn = sorted(bench.rows())[0]
    bench.milvus.loses = [stubborn] * full._MAX_PASSES
    with pytest.raises(EngineError, match="still lacks 1 chunks") as caught:
        run(bench.open_job())
    assert caught.value.retryable
    assert bench.milvus.aliases == {"knowledge": live}
    (left,) = bench.store().unfinished()
    report = run(bench.open_job()).reporter.report
    assert (report.collection, report.resumed, report.kept, report.embedded) == (left, True, 5, 1)
    assert bench.milvus.aliases == {"knowledge": left}


def killed_after_the_first_batch(bench: Bench) -> Job:
    def stages(plan: JobPlan, units: Iterator[Unit]) -> Iterator[list[Row]]:
        yield next(iter(bench.run_here(plan, units)))
        raise KeyboardInterrupt

    return bench.open_job(stages)


def test_what_a_killed_run_wrote_and_the_sources_hold_no_more_is_removed(bench: Bench) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(killed_after_the_first_batch(bench))
    (left,) = bench.store().unfinished()
    bench.remove("note0.md")
    assert any("Item 0" in text for text in bench.texts(left))
    report = run(bench.open_job()).reporter.report
    assert (report.collection, report.resumed) == (left, True)
    assert sorted(text.split()[1] for text in bench.texts()) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("change", [{"is_forced": True}, {"more": "chunking: {max_tokens: 64}\n"}])
def test_unfinished_version_of_another_description_is_dropped_before_a_new_one_is_built(
    bench: Bench, change: dict[str, Any]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(killed_after_the_first_batch(bench))
    (left,) = bench.store().unfinished()
    seen: list[str] = []

    def stages(plan: JobPlan, units: Iterator[Unit]) -> Iterator[list[Row]]:
        seen.extend(bench.milvus.collections)
        yield from bench.run_here(plan, units)

    report = run(bench.open_job(stages, **change)).reporter.report
    assert not report.resumed
    assert left not in seen
    assert seen == [report.collection]


def test_unfinished_version_of_another_tenant_stays_until_it_lacks_what_has_gone_live(bench: Bench) -> None:
    bench.tenant = "other"
    write_notes(bench, 6)
    with pytest.raises(KeyboardInterrupt):
        run(killed_after_the_first_batch(bench))
    (theirs,) = bench.store().unfinished()
    bench.tenant = "default"
    with pytest.raises(KeyboardInterrupt):
        run(killed_after_the_first_batch(bench))
    assert theirs in bench.store().unfinished()
    report = run(bench.open_job()).reporter.report
    assert list(bench.milvus.collections) == [report.collection]


def test_sources_without_text_leave_the_live_version_and_no_other(bench: Bench) -> None:
    live = run(bench.open_job()).reporter.report.collection
    job = bench.open_job(lambda _plan, _units: iter(()))
    with pytest.raises(ConfigError, match="the sources hold no text") as caught:
        run(job)
    assert str(job.request.source) in str(caught.value)
    assert list(bench.milvus.collections) == [live]


def test_too_much_set_aside_drops_the_version_and_names_reasons(bench: Bench) -> None:
    live = run(bench.open_job()).reporter.report.collection
    bench.write("bad.jsonl", "{oops\n" * 6)
    with pytest.raises(GateFailed, match=r"(?s)limits\.max_failed_share.*bad\.jsonl, line 1: not JSON"):
        run(bench.open_job())
    assert list(bench.milvus.collections) == [live]


def test_version_that_is_not_good_enough_stays_to_be_looked_at(bench: Bench) -> None:
    live = run(bench.open_job()).reporter.report.collection
    for number in range(1, 6):
        bench.remove(f"note{number}.md")
    with pytest.raises(GateFailed, match="rows beside those of the live version") as caught:
        run(bench.open_job())
    (left,) = bench.store().unfinished()
    assert f'voxray retrieve "a question" --version {left}' in str(caught.value)
    assert bench.milvus.aliases == {"knowledge": live}


def test_documents_of_live_updates_are_carried_over_unless_a_source_has_them_again(bench: Bench) -> None:
    live = run(bench.open_job()).reporter.report.collection
    updates = [row("news/1", "We open at nine.", origin=FROM_UPDATE), row("note3.md", "Sold out.", origin=FROM_UPDATE)]
    bench.store().rows.write(live, updates)
    run(bench.open_job(is_forced=True))
    assert "We open at nine." in bench.texts()
    assert "Sold out." not in bench.texts()


def test_person_who_is_erased_while_the_run_goes_on_is_not_in_the_new_version(bench: Bench) -> None:
    bench.write("people.csv", "id,name,person,text\n1,Letter,ann,Ann wrote.\n2,Letter,ben,Ben wrote.\n")

    def stages(plan: JobPlan, units: Iterator[Unit]) -> Iterator[list[Row]]:
        yield from bench.run_here(plan, units)
        erase_subject(job.blobs, "default", subject_digest("default", "ann"), "receipt", 1.0)

    job = bench.open_job(stages, more=PEOPLE)
    run(job)
    assert "Ben wrote." in bench.texts()
    assert not any("Ann" in text for text in bench.texts())


def test_rows_of_other_tenants_go_into_the_new_version_as_they_are(bench: Bench) -> None:
    run(bench.open_job())
    theirs = bench.rows()
    bench.tenant = "other"
    write_notes(bench, 2, "weighs")
    run(bench.open_job())
    assert bench.rows(tenant="default") == theirs
    assert len(bench.rows(tenant="other")) == 2
    # The first version has no rows of this tenant: to go back there would leave its callers without an answer.
    (entry,) = bench.store().history(bench.milvus.aliases["knowledge"], "other")
    assert entry.previous == ""
