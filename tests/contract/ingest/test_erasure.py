"""A person's data leave every place, stay away, and the receipt can be checked."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from deployments.stores.change_log import ChangeLog, DocumentChange
from ingest_jobs.knowledge.operate.erasure import Receipt, erase, verify
from ingest_jobs.knowledge.operate.follow import Follower
from ingest_jobs.knowledge.read.documents import subject_digest
from ingest_jobs.knowledge.run.job import open_redis
from tests.contract.ingest.test_job import act
from tests.contract.ingest.workshop import TABLE, CountingEncoder, Workshop

pytestmark = pytest.mark.contract

ANN = [("1", "ann", "Ann wrote a letter."), ("2", "ann", "Ann wrote another.")]
BEN = [("3", "ben", "Ben wrote one too.")]


@pytest.fixture
def people(workshop: Workshop) -> Workshop:
    workshop.describe(TABLE)
    workshop.write_notes(30)
    workshop.write_people(ANN + BEN)
    workshop.run()
    return workshop


def log_of(workshop: Workshop) -> ChangeLog:
    client = open_redis(workshop.redis_url, "")
    assert client is not None
    return ChangeLog(client, workshop.alias)


def erase_ann(workshop: Workshop) -> Receipt:
    return erase([workshop.store()], workshop.blobs, [log_of(workshop)], workshop.tenant, "ann")


def everything(workshop: Workshop) -> str:
    """Return all that is stored: rows of all versions, files, and the stream."""
    rows = [str(workshop.rows(version)) for version in workshop.store().versions()]
    files = [path.read_bytes().decode("latin-1") for path in workshop.objects.rglob("*") if path.is_file()]
    return "".join(rows + files + [str(change) for _, change in log_of(workshop).after("0-0")])


def test_person_leaves_all_versions_the_undo_files_and_the_stream(people: Workshop) -> None:
    people.run(is_forced=True)
    people.write_people([("1", "ann", "Ann has changed it."), *ANN[1:], *BEN])
    assert people.run().mode == "incremental"
    log_of(people).append(DocumentChange("default", "x", "put", text="Ann again.", subject="ann"))
    receipt = erase_ann(people)
    assert len(people.store().versions()) == 2
    assert receipt.places[f"changes/{people.alias}"] == 1
    assert receipt.places["staged for import"] == 0
    assert sorted(receipt.places.values()) == [0, 1, 1, 2, 2]
    assert set(receipt.remaining.values()) == {0}
    assert "Ann" not in everything(people)
    assert "Ben wrote one too." in people.texts()


def test_erased_person_does_not_come_back(people: Workshop) -> None:
    people.run(is_forced=True)
    erase_ann(people)
    assert people.run().erased == 2
    assert people.run(is_forced=True).erased == 2
    act(people, "rollback")
    follower = Follower(people.request(), CountingEncoder())
    change = follower.log.append(DocumentChange("default", "x", "put", text="Ann again.", subject="ann"))
    follower.apply_waiting()
    assert follower.log.state(change) == "refused: the person it is about was erased"
    follower.close()
    assert not any("Ann" in text for text in people.texts())


def test_erasure_during_a_reindex_holds_for_the_version_that_it_makes(people: Workshop) -> None:
    people.run(CountingEncoder(at={60: lambda: erase_ann(people)}), is_forced=True)
    assert not any("Ann" in text for text in people.texts())
    assert "Ben wrote one too." in people.texts()


def test_receipt_holds_until_it_is_altered_or_untrue(people: Workshop) -> None:
    receipt = asdict(erase_ann(people))
    assert "ann" not in json.dumps(receipt).lower().replace("remaining", "")
    assert receipt["subject"] == subject_digest("default", "ann")
    store, blobs, log = people.store(), people.blobs, log_of(people)
    assert verify(receipt, [store], blobs, [log]) == (
        True,
        dict.fromkeys([*receipt["remaining"], "tombstone missing"], 0),
    )
    assert not verify({**receipt, "at_s": 1.0}, [store], blobs, [log])[0]
    live = people.store().live_collection()
    assert live is not None
    row = next(iter(store.rows.scan(live, "default", store.rows.columns(live))))
    store.rows.write(live, [{**row, "pk": "f" * 32, "subject": receipt["subject"]}])
    assert verify(receipt, [store], blobs, [log])[1][live] == 1


def test_erasure_by_the_stream_leaves_its_receipt(people: Workshop) -> None:
    follower = Follower(people.request(), CountingEncoder())
    change = follower.log.append(DocumentChange("default", "", "erase", subject="ann"))
    follower.apply_waiting()
    assert follower.log.state(change) == "applied"
    receipt = json.loads(follower.log.receipt(change))
    assert verify(receipt, [people.store()], people.blobs, [follower.log])[0]
    follower.close()
    assert not any("Ann" in text for text in people.texts())
