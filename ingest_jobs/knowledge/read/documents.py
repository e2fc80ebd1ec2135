"""The data types of the ingest job: units listed by sources, documents in files, and refusals."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_HASH_CHARS = 24


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing that a source lists and a reader opens: a file, an object, a page or a query.

    Attributes:
        source_index: index of the dataset's source.
        name: the source's name in passages, stable between runs.
        location: where the source finds it (path, key or URL).
        updated_at: ISO date.
        size_bytes: size as stored; 0 if the source does not tell.
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
        anchor: identifier that is unique in the document and stable between runs.
    """

    title: str
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Document:
    """The unit of change, of erasure and of expiry: a file, a page, or one row of a table.

    Attributes:
        doc_id: unique within the tenant's collection.
        source: the name used in citations.
        subject: the person it is about, as given in the data; "" for nobody.
        expires_at: ISO date from which it is no longer used; "" for never.
        fields: the values that searches may be filtered by, as (name, text) from the data.
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
    """A file or one of its rows is broken or hostile. The message is the reason given in the report."""


def subject_digest(tenant: str, subject: str) -> str:
    """Return the digest that represents a person in the vector store and in receipts; "" for nobody."""
    if not subject:
        return ""
    return hashlib.sha256(f"subject\0{tenant}\0{subject}".encode()).hexdigest()[:32]


def content_hash(*parts: str) -> str:
    """Return a short hash of a sequence of texts, in which the borders between texts count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:_HASH_CHARS]
