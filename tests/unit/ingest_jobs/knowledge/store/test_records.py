"""Blobs, journal, undo files and progress: small things that a job stands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest_jobs.knowledge.exits import exit_code
from ingest_jobs.knowledge.run.journal import Journal
from ingest_jobs.knowledge.run.quality import GateFailed
from ingest_jobs.knowledge.run.reporting import Progress, Report, Reporter
from ingest_jobs.knowledge.store.blobs import FolderBlobs, MemoryBlobs, get_json, open_blobs, put_json
from ingest_jobs.knowledge.store.rows import DOCUMENT, KEPT, REFUSED, UNIT, WRITTEN, row_of_news
from ingest_jobs.knowledge.store.undo import delete_undo, forget_subject, read_undo, write_undo
from pipelines.errors import CapacityError, ConfigError, EngineError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_blobs_are_written_listed_and_deleted(kind: str, tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path) if kind == "folder" else "")
    assert isinstance(blobs, FolderBlobs if kind == "folder" else MemoryBlobs)
    put_json(blobs, "a/b/one.json", {"x": 1})
    blobs.put("a/b/two", b"2")
    blobs.put("a/c", b"3")
    assert list(blobs.names("a/b/")) == ["a/b/one.json", "a/b/two"]
    assert get_json(blobs, "a/b/one.json") == {"x": 1}
    blobs.delete("a/b/two")
    blobs.delete("a/b/two")
    assert blobs.get("a/b/two") is None


def test_journal_finds_what_is_missing_other_or_too_much() -> None:
    journal = Journal()
    journal.want([("a", "1"), ("b", "1"), ("c", "1")])
    journal.find([("a", "1"), ("b", "2"), ("d", "1")])
    assert (journal.missing(), journal.surplus(), journal.wanted_count()) == (2, ["d"], 3)
    journal.close()


def test_journal_knows_live_documents_and_those_in_parts() -> None:
    journal = Journal()
    journal.add_live_rows([("whole", "h/2"), ("whole", "h/2"), ("part", "h/2"), ("mixed", "h/2"), ("mixed", "i/2")])
    assert [journal.live_hash(doc) for doc in ("whole", "part", "mixed", "none")] == ["h", "", "", None]
    assert journal.see("whole", "h")
    assert not journal.see("whole", "h")
    assert sorted(journal.unseen_live()) == ["mixed", "part"]
    journal.close()


def test_undo_file_gives_the_rows_back_and_forgets_a_person() -> None:
    blobs = MemoryBlobs()
    rows = [{"pk": str(n), "subject": "s" if n % 2 else "", "dense": [0.5, 1.0], "text": "t"} for n in range(5)]
    write_undo(blobs, "undo", rows, ["d1", "d2"])
    found = read_undo(blobs, "undo")
    assert found is not None
    assert (found[0], [row for batch in found[1] for row in batch]) == (["d1", "d2"], rows)
    assert forget_subject(blobs, "undo", "s") == 2
    assert forget_subject(blobs, "undo", "s") == 0
    delete_undo(blobs, "undo")
    assert read_undo(blobs, "undo") is None


def test_undo_file_of_new_documents_alone_is_empty() -> None:
    blobs = MemoryBlobs()
    write_undo(blobs, "undo", [], ["d1"])
    found = read_undo(blobs, "undo")
    assert found is not None
    assert (found[0], list(found[1])) == (["d1"], [])


def test_reporter_counts_outcomes_and_tells_the_time_left() -> None:
    told: list[Progress] = []
    blobs = MemoryBlobs()
    reporter = Reporter(Report("j", "d", "t", "a"), blobs, told.append)
    reporter.units_expected = 4
    reporter.phase("embedding")
    news = [row_of_news(DOCUMENT, "3"), row_of_news(KEPT), row_of_news(WRITTEN), row_of_news(REFUSED, "bad")]
    reporter.count([*news, row_of_news(UNIT)])
    reporter.phase("verifying")
    report = reporter.report
    assert (report.documents, report.masked_values, report.kept, report.embedded, report.chunks) == (1, 3, 1, 1, 2)
    assert (report.refused, report.refusals, report.refused_share()) == (1, ["bad"], 0.5)
    assert (told[-1].documents, told[-1].documents_expected) == (1, 4)
    reporter.save("done")
    assert get_json(blobs, "ingest/reports/t/j.json")["state"] == "done"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (EngineError("ingest", "y", retryable=True), 3),
        (GateFailed("x"), 4),
        (CapacityError("x"), 5),
    ],
)
def test_exit_code_tells_what_to_do(error: Exception, code: int) -> None:
    assert exit_code(error) == code  # type: ignore[arg-type]
