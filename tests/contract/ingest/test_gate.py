"""The gate of edits: what a live version found before an incremental run it finds afterwards, or the run is undone."""

from __future__ import annotations

import json

import pytest

from deployments.engines.milvus import MilvusSettings
from deployments.engines.milvus.retriever import MilvusRetriever
from ingest_jobs.knowledge.run.quality import GateFailed
from pipelines.ports import RetrievalQuery
from tests.contract.ingest.workshop import CountingEncoder, Workshop, note

pytestmark = pytest.mark.contract

GOLDEN = "quality: {golden: golden.jsonl, golden_top: 3, min_golden_recall: 1.0}\n"
WITHOUT_GOLDEN = "sources: [{kind: folder, exclude: [golden.jsonl]}]\n"


def test_edit_that_loses_a_golden_answer_is_taken_back(workshop: Workshop) -> None:
    workshop.write_notes(20)
    question = {"question": "note 3 price item costs 21 dollars", "source": "note0003.md"}
    workshop.write("golden.jsonl", json.dumps(question))
    workshop.describe(GOLDEN + WITHOUT_GOLDEN)
    workshop.run()
    before = workshop.rows()
    workshop.write("note0003.md", "# Something else\n\nWe moved to another town.\n")
    workshop.write_notes(1, start=30)
    for _ in range(2):  # the second run finds everything as the first one did
        with pytest.raises(GateFailed, match="golden"):
            workshop.run()
        assert workshop.rows() == before
    workshop.write("note0003.md", note(3) + "\nIt is new.\n")
    assert workshop.run().gate["golden_recall"] == 1.0
    assert "note0030.md" in workshop.docs()


async def test_refused_version_can_be_looked_at_and_goes_live_once_the_setting_is_lowered(workshop: Workshop) -> None:
    workshop.write_notes(20)
    workshop.describe(WITHOUT_GOLDEN)
    workshop.run()
    live = workshop.store().live_collection()
    workshop.write("golden.jsonl", json.dumps({"question": "what does it cost", "source": "gone.md"}))
    workshop.describe(GOLDEN + WITHOUT_GOLDEN)
    workshop.write_notes(1, start=30)
    with pytest.raises(GateFailed) as refusal:
        workshop.run(is_forced=True)
    assert workshop.store().live_collection() == live
    message = str(refusal.value)
    assert "not found: gone.md for the question 'what does it cost'" in message
    assert "lower quality.min_golden_recall" in message
    built = message.rpartition("--version ")[2]
    settings = MilvusSettings()
    retriever = MilvusRetriever(workshop.uri, workshop.alias, CountingEncoder(), settings=settings, version=built)
    try:
        passages = await retriever.search(RetrievalQuery("default", "note 30 price", limit=5, budget_ms=20_000))
    finally:
        await retriever.aclose()
    assert any("Item 30 costs" in passage.text for passage in passages)
    workshop.describe(GOLDEN.replace("1.0", "0.0") + WITHOUT_GOLDEN)
    encoder = CountingEncoder()
    assert workshop.run(encoder).collection == built
    assert encoder.texts == 1  # the golden question; nothing was embedded anew
    assert workshop.store().live_collection() == built


def test_edit_that_spoils_what_was_found_is_taken_back(workshop: Workshop) -> None:
    workshop.write_notes(20)
    workshop.run()
    workshop.write_notes(1, start=30)
    assert workshop.run().gate == {"probes": 20, "probe_recall": 1.0}
    store = workshop.store()
    live = store.live_collection() or ""
    store.close()

    def lose_rows() -> None:
        # As a fault of the store would: most of what was there before is gone when the edit has been written.
        own = workshop.store()
        lost = [key for key, row in workshop.rows().items() if row["doc_id"] < "note0018.md"]
        own.rows.delete_keys(live, "default", lost)
        own.close()

    workshop.write_notes(1, start=31)
    with pytest.raises(GateFailed, match="probes after the edit"):
        workshop.run(CountingEncoder(at={0: lose_rows}))
    assert workshop.docs() == {"note0018.md", "note0019.md", "note0030.md"}


def test_edit_that_removes_more_than_allowed_is_not_begun(workshop: Workshop) -> None:
    workshop.describe("quality: {min_row_share: 0.9}\n")
    workshop.write_notes(20)
    workshop.run()
    before = workshop.rows()
    for number in range(3):
        (workshop.folder() / f"note{number:04}.md").unlink()
    with pytest.raises(GateFailed, match=r"0\.85, at least 0\.90"):
        workshop.run()
    assert workshop.rows() == before


def test_probes_asked_together_are_answered_as_one_by_one(workshop: Workshop) -> None:
    workshop.write_notes(10)
    workshop.run()
    vectors = [row["dense"] for row in workshop.rows().values()]
    store = workshop.store()
    live = store.live_collection() or ""
    together = store.rows.nearest(live, "default", vectors, 3)
    assert len(together) == 20  # more than one request holds
    assert together == [store.rows.nearest(live, "default", [vector], 3)[0] for vector in vectors]
    assert store.rows.nearest(live, "default", [], 3) == []
    store.close()
