"""Live updates through the Redis stream: in order, beside a reindex, and standing until the source changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.stores.change_log import DocumentChange
from ingest_jobs.knowledge.operate.follow import Follower
from pipelines.errors import EngineError
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


def test_change_that_the_store_will_never_take_holds_nothing_back(workshop: Workshop, follower: Follower) -> None:
    # What writes to the stream itself may write anything.
    bad = follower.log.append(DocumentChange('other" or tenant != "', "x", "put", text="Mine.", subject="ann"))
    good = put(follower, "news/1", "We open at nine.")
    assert follower.apply_waiting() == 2
    assert follower.log.state(bad).startswith("set aside: vector_store: the tenant name")
    assert follower.log.state(good) == "applied"
    assert "We open at nine." in workshop.texts()
    (aside,) = follower.log.all_set_aside()
    assert (aside.change_id, aside.change.doc_id, aside.change.text) == (bad, "x", "Mine.")
    report = workshop.run(is_forced=True)  # nor does it end a reindex that replays it
    assert report.set_aside_changes == 0
    assert follower.log.forget_subject('other" or tenant != "', "ann") == 2
    assert follower.log.all_set_aside() == []


def test_reindex_sets_aside_what_it_cannot_replay(workshop: Workshop, follower: Follower) -> None:
    def send_meanwhile() -> None:
        follower.log.append(DocumentChange("no tenant", "x", "put", text="Mine."))
        put(follower, "news/1", "We open at nine.")

    report = workshop.run(CountingEncoder(at={20: send_meanwhile}), is_forced=True)
    assert (report.replayed_changes, report.set_aside_changes) == (2, 1)
    assert "We open at nine." in workshop.texts()
    assert [each.change.doc_id for each in follower.log.all_set_aside()] == ["x"]


def test_changes_set_aside_are_shown_and_tried_again(workshop: Workshop, follower: Follower) -> None:
    change = DocumentChange("default", "news/1", "put", title="News", text="We open at nine.")
    follower.log.set_aside("1-1", change, "Milvus: no room")
    shown = act(workshop, "changes")
    assert (shown["waiting"], shown["set_aside"]) == (0, 1)
    assert shown["changes"] == [{"change": "1-1", "kind": "put", "document": "news/1", "reason": "Milvus: no room"}]
    assert act(workshop, "changes", retry=True) == {"live_updates": True, "done": 1}
    assert act(workshop, "changes")["waiting"] == 1
    follower.apply_waiting()
    assert "We open at nine." in workshop.texts()


def test_version_that_the_store_has_released_is_loaded_and_the_change_applied(
    workshop: Workshop, follower: Follower
) -> None:
    store = workshop.store()
    store._client.release_collection(store.live_collection() or "")  # as after a restart of milvus-lite
    store.close()
    change = put(follower, "news/1", "We open at nine.")
    follower.apply_waiting()
    assert follower.log.state(change) == "applied"
    assert "We open at nine." in workshop.texts()


def test_change_waits_while_its_version_cannot_be_used(workshop: Workshop, follower: Follower) -> None:
    put(follower, "news/1", "We open at nine.")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follower._store, "load", refuse)
        patch.setattr(follower._store.rows, "scan", refuse)
        with pytest.raises(EngineError, match="cannot be used") as caught:
            follower.apply_waiting()
    assert caught.value.retryable
    assert follower.log.all_set_aside() == []
    assert follower.apply_waiting() == 1


def test_follower_that_started_before_the_first_job_embeds_as_it_did(workshop: Workshop) -> None:
    opened = Follower(workshop.request())  # no encoder given: the dataset's own
    workshop.write_notes(3)
    workshop.run()
    change = put(opened, "news/1", "We open at nine.")
    opened.apply_waiting()
    assert opened.log.state(change) == "applied"
    opened.close()


def refuse(*_: object) -> None:
    raise EngineError("retriever", "Milvus: no", retryable=False)
