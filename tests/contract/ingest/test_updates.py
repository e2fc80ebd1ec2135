"""Live updates through the Redis stream: in order, beside a reindex, and standing until the source changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.engines.change_log import DocumentChange
from ingest_jobs.follow import Follower
from tests.contract.ingest.test_job import act
from tests.contract.ingest.workshop import CountingEncoder, Workshop

pytestmark = pytest.mark.contract


@pytest.fixture
def follower(workshop: Workshop) -> Iterator[Follower]:
    workshop.write_notes(20)
    workshop.run()
    opened = Follower(workshop.request(), CountingEncoder())
    yield opened
    opened.close()


def put(follower: Follower, doc_id: str, text: str, **more: str) -> str:
    return follower.log.append(DocumentChange("default", doc_id, "put", title="News", text=text, **more))


def delete(follower: Follower, doc_id: str) -> str:
    return follower.log.append(DocumentChange("default", doc_id, "delete"))


def test_document_is_put_replaced_and_deleted(workshop: Workshop, follower: Follower) -> None:
    put(follower, "news/1", "We open at nine.")
    put(follower, "note0003.md", "Item 3 is sold out.")
    assert follower.apply_waiting() == 2
    assert {"We open at nine.", "Item 3 is sold out."} <= workshop.texts()
    assert "Item 3 costs 21 dollars." not in workshop.texts()
    put(follower, "news/1", "We open at ten.")
    delete(follower, "note0004.md")
    follower.apply_waiting()
    assert "We open at nine." not in workshop.texts()
    assert "note0004.md" not in workshop.docs()
    assert follower.apply_waiting() == 0


def test_update_stands_until_the_source_says_something_else(workshop: Workshop, follower: Follower) -> None:
    put(follower, "note0003.md", "Item 3 is sold out.")
    delete(follower, "note0004.md")
    put(follower, "news/1", "We open at nine.")
    follower.apply_waiting()
    for is_forced in (False, True):  # neither an incremental nor a full run takes it back
        report = workshop.run(is_forced=is_forced)
        assert report.overridden == 2
        assert "note0004.md" not in workshop.docs()
        assert {"We open at nine.", "Item 3 is sold out."} <= workshop.texts()
    workshop.write_notes(5, say="weighs")
    workshop.run()
    assert {"Item 3 weighs 21 dollars.", "Item 4 weighs 28 dollars.", "We open at nine."} <= workshop.texts()
    assert "Item 3 is sold out." not in workshop.texts()


def test_updates_during_a_reindex_are_in_the_new_version(workshop: Workshop, follower: Follower) -> None:
    def update_meanwhile() -> None:
        put(follower, "note0003.md", "Item 3 is sold out.")
        delete(follower, "note0004.md")
        follower.apply_waiting()  # to the version that is live now
        put(follower, "news/1", "Nobody has applied this yet.")

    workshop.write_notes(20, say="weighs")
    report = workshop.run(CountingEncoder(at={40: update_meanwhile}), is_forced=True)
    assert report.replayed_changes == 3
    assert {"Item 3 is sold out.", "Nobody has applied this yet.", "Item 5 weighs 35 dollars."} <= workshop.texts()
    assert "note0004.md" not in workshop.docs()
    now = workshop.rows()
    assert follower.apply_waiting() == 1
    assert workshop.rows() == now


def test_updates_before_the_first_version_are_kept_for_it(workshop: Workshop) -> None:
    opened = Follower(workshop.request(), CountingEncoder())
    put(opened, "news/1", "We open at nine.")
    assert opened.apply_waiting() == 0
    workshop.write_notes(3)
    workshop.run()
    opened.close()
    assert "We open at nine." in workshop.texts()


def test_updates_survive_a_rollback(workshop: Workshop, follower: Follower) -> None:
    workshop.write_notes(20, say="weighs")
    workshop.run()
    put(follower, "note0003.md", "Item 3 is sold out.")
    follower.apply_waiting()
    act(workshop, "rollback")
    assert {"Item 3 is sold out.", "Item 5 costs 35 dollars."} <= workshop.texts()


def test_update_that_cannot_be_indexed_is_refused_with_the_reason(workshop: Workshop, follower: Follower) -> None:
    before = workshop.rows()
    change = put(follower, "x", "<script>steal()</script>")
    follower.apply_waiting()
    assert follower.log.state(change) == "refused: holds a script"
    assert workshop.rows() == before


def test_update_is_masked_as_the_tenant_s_dataset_says(workshop: Workshop, follower: Follower) -> None:
    workshop.describe("".join(["retention: {expire_after_days: 0}\n"]))
    (workshop.folder() / "dataset.yaml").write_text("embedding: {engine: scripted}\n")
    workshop.run()
    put(follower, "x", "Write to ann@example.com.")
    follower.apply_waiting()
    assert "Write to [email]." in workshop.texts()
