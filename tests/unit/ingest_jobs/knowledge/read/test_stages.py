"""Documents become chunks with stable keys, and hashes that tell what has changed."""

from __future__ import annotations

import pytest

from ingest_jobs.knowledge.read.chunking import count_words
from ingest_jobs.knowledge.read.dataset import ChunkingRule, Dataset
from ingest_jobs.knowledge.read.documents import Document, Section, Unreadable, subject_digest
from ingest_jobs.knowledge.read.stages import Chunk, Preparer, chunks_of, clean

pytestmark = pytest.mark.unit


def document(text: str = "A fact. Another.", **changes: str) -> Document:
    fields = {"doc_id": "a.md", "source": "a.md", "updated_at": "2026-01-02", **changes}
    return Document(sections=(Section("T", text, "s"),), **fields)


def chunks(doc: Document, dataset: Dataset | None = None, tenant: str = "t") -> list[Chunk]:
    dataset = dataset or Dataset()
    return chunks_of(Preparer(dataset, tenant).prepare(doc), tenant, ChunkingRule(), count_words)


def test_text_is_brought_into_one_form() -> None:
    assert clean("\ufb01t It\u2019s\u00a0 \u201cnew\u201d\u200b \n x") == 'fit It\'s "new" x'


def test_keys_are_the_same_run_after_run_and_differ_between_tenants_and_documents() -> None:
    keys = [chunks(document())[0].key, chunks(document())[0].key]
    keys += [chunks(document(), tenant="u")[0].key, chunks(document(doc_id="b.md"))[0].key]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_hash_follows_what_is_told_and_not_the_file_s_date() -> None:
    same = chunks(document())[0]
    assert chunks(document(updated_at="2026-05-05"))[0].doc_hash == same.doc_hash
    for other in (document("Another fact."), document(subject="c-1"), document(expires_at="2030-01-01")):
        assert chunks(other)[0].doc_hash != same.doc_hash
        assert chunks(other)[0].chunk_hash != same.chunk_hash


def test_person_is_stored_as_a_digest_that_differs_between_tenants() -> None:
    found = chunks(document(subject="Ann"))[0]
    assert found.subject == subject_digest("t", "Ann") != subject_digest("u", "Ann")
    assert "Ann" not in str(found)


def test_personal_data_do_not_reach_a_chunk() -> None:
    assert chunks(document("Write to ann@example.com."))[0].text == "Write to [email]."


def test_document_expires_by_its_own_date_or_by_its_age() -> None:
    assert chunks(document(expires_at="2027-01-01"))[0].expires_at == 1798761600
    aged = Dataset(retention={"expire_after_days": 10})
    assert chunks(document(updated_at="2026-12-22"), aged)[0].expires_at == 1798761600
    assert chunks(document())[0].expires_at == 0


@pytest.mark.parametrize(
    ("doc", "reason"),
    [
        (document(" \u200b "), "holds no text"),
        (document(doc_id="x" * 1001), "an id of more than"),
        (document(expires_at="soon"), "its date is not written"),
    ],
)
def test_document_that_cannot_be_indexed_is_refused(doc: Document, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        chunks(doc)
