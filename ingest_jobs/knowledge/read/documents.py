"""The words of the ingest job: what a source lists, what a file holds, what is set aside."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_HASH_CHARS = 24


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing that a source lists and a reader opens: a file, an object, a page, a query.

    Attributes:
        source_index: which of the dataset's sources.
        name: what passages call their source, the same run after run.
        location: how the source finds it again (path, key, URL).
        updated_at: ISO date.
        size_bytes: as it is stored; 0: the source does not say.
    """

    source_index: int
    name: str
    location: str
    updated_at: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """A titled piece of a document.

    Attributes:
        title: "Document: Heading", or the record's name.
        text: plain sentences.
        anchor: unique in the document, the same run after run.
    """

    title: str
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Document:
    """The unit of change, of erasure and of expiry: a file, a page, or one row of a table.

    Attributes:
        doc_id: unique within the tenant's collection.
        source: what a citation names.
        subject: the person it is about, as the data name them; "" for nobody.
        expires_at: ISO date from which it is no longer told; "" for never.
        fields: what searches may be filtered by, as the data say it: (name, text).
    """

    doc_id: str
    source: str
    updated_at: str
    sections: tuple[Section, ...]
    subject: str = ""
    expires_at: str = ""
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file or row that was set aside, and why."""

    doc_id: str
    reason: str


class Unreadable(Exception):
    """A file, or a row of it, is broken or hostile. The message is the reason that the report gives."""


def subject_digest(tenant: str, subject: str) -> str:
    """Return what stands for a person in the vector store and in receipts; "" for nobody."""
    if not subject:
        return ""
    return hashlib.sha256(f"subject\0{tenant}\0{subject}".encode()).hexdigest()[:32]


def content_hash(*parts: str) -> str:
    """Return a short hash of texts, of which no two sequences are the same."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:_HASH_CHARS]
