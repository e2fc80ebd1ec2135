"""The pure stages of the ingest job, shared by all modes: documents are normalised, masked and cut into chunks."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from deployments.engines.milvus.fields import lay_out_fields, stored_value
from ingest_jobs.knowledge.read.chunking import CountTokens, passages_of
from ingest_jobs.knowledge.read.dataset import ChunkingRule, Dataset
from ingest_jobs.knowledge.read.documents import Document, Section, Unreadable, content_hash, subject_digest
from pipelines.privacy.masker import Masker

# Part of every fingerprint. Increment it when a stage produces something different from the same file.
PIPELINE_VERSION = "4"
# Values of `origin`: written by a job, or by a live update that replaces source content with the hash after the slash.
FROM_SOURCE, FROM_UPDATE = "source", "live/"
_QUOTES = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_MAX_ID_BYTES = 1000
_MAX_TITLE_CHARS = 500


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that is ready to be cut: cleaned, masked, and with a hash to detect changes.

    `subject` is a digest, `expires_at` is in seconds since 1970 (0 for never), `columns` holds the values of declared
    fields by column (JSON), and `masked` is the number of values that were replaced.
    """

    document: Document
    doc_hash: str
    subject: str
    expires_at: int
    masked: int
    columns: str = "{}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """One passage to index.

    `key` depends only on tenant, document, section and position, so it is stable between runs.
    """

    key: str
    tenant: str
    title: str
    text: str
    source: str
    updated_at: str
    doc: str
    doc_id: str
    doc_hash: str
    chunk_hash: str
    subject: str
    origin: str
    expires_at: int
    columns: str = "{}"


class Preparer:
    """Prepares documents of one dataset for being compared, cut and stored."""

    def __init__(self, dataset: Dataset, tenant: str) -> None:
        self._days = dataset.retention.expire_after_days
        self._tenant = tenant
        self._masker = Masker(dataset.masking.policy())
        self._fields = lay_out_fields(dataset.fields)

    def prepare(self, document: Document) -> Prepared:
        """Normalise and mask a document.

        Raises:
            Unreadable: its id is too long, its date is malformed, or no text is left.
        """
        if len(document.doc_id.encode()) > _MAX_ID_BYTES:
            raise Unreadable(f"an id of more than {_MAX_ID_BYTES} bytes")
        masked = 0
        sections: list[Section] = []
        for section in document.sections:
            title, text = self._masker.mask(clean(section.title)), self._masker.mask(clean(section.text))
            masked += title.count + text.count
            if text.text:
                sections.append(Section(title.text[:_MAX_TITLE_CHARS], text.text, section.anchor))
        if not sections:
            raise Unreadable("holds no text")
        expires_at = _expiry(document, self._days)
        subject = subject_digest(self._tenant, document.subject)
        texts = [part for section in sections for part in (section.title, section.text, section.anchor)]
        columns = self._columns(document)
        doc_hash = content_hash(*texts, subject, str(expires_at), document.source, columns)
        return Prepared(replace(document, sections=tuple(sections)), doc_hash, subject, expires_at, masked, columns)

    def _columns(self, document: Document) -> str:
        found: dict[str, str | float] = {}
        for name, text in sorted(document.fields):
            if (field := self._fields.get(name)) is None:
                raise Unreadable(f"field {name} is not declared by the dataset")
            if not text.strip():
                continue
            try:
                value = stored_value(field.type, text)
            except ValueError as error:
                raise Unreadable(f"field {name} is not {error}") from error
            is_prose = field.type == "text" and isinstance(value, str)
            found[field.column] = self._masker.mask(clean(value)).text if is_prose else value  # type: ignore[arg-type]
        return json.dumps(found, sort_keys=True)


def chunks_of(
    prepared: Prepared, tenant: str, rule: ChunkingRule, count: CountTokens, origin: str = FROM_SOURCE
) -> list[Chunk]:
    """Cut a document into chunks. Each `doc_hash` ends with their number, so that an incomplete document is noticed."""
    document = prepared.document
    cut = [(s, n, piece) for s in document.sections for n, piece in enumerate(passages_of(s.text, rule, count))]
    return [
        Chunk(
            key=chunk_key(tenant, document.doc_id, section.anchor, position),
            tenant=tenant,
            title=section.title,
            text=piece,
            source=document.source,
            updated_at=document.updated_at,
            doc=doc_key(document.doc_id),
            doc_id=document.doc_id,
            doc_hash=f"{prepared.doc_hash}/{len(cut)}",
            chunk_hash=content_hash(prepared.doc_hash, section.title, piece),
            subject=prepared.subject,
            origin=origin,
            expires_at=prepared.expires_at,
            columns=prepared.columns,
        )
        for section, position, piece in cut
    ]


def clean(text: str) -> str:
    """Normalise text: NFKC, plain spaces and quotes, and no control characters."""
    if _UNPRINTABLE.search(text):
        folded = unicodedata.normalize("NFKC", text).translate(_QUOTES)
        text = "".join(ch if unicodedata.category(ch)[0] != "C" else " " for ch in folded)
    return " ".join(text.split())


def chunk_key(tenant: str, doc_id: str, anchor: str, position: int) -> str:
    """Return the deterministic primary key of a passage (32 hex digits)."""
    return hashlib.sha256("\0".join((tenant, doc_id, anchor, str(position))).encode()).hexdigest()[:32]


def doc_key(doc_id: str) -> str:
    """Return the name of a document in filters (32 hex digits), since ids are foreign text."""
    return hashlib.sha256(doc_id.encode()).hexdigest()[:32]


def embedding_text(title: str, text: str) -> str:
    """Return the text to embed: the passage under its title, since a row's text alone may not name its topic."""
    return f"{title}. {text}"


def _expiry(document: Document, days: int) -> int:
    try:
        if document.expires_at:
            return int(datetime.fromisoformat(document.expires_at).replace(tzinfo=UTC).timestamp())
        if days and document.updated_at:
            return int(
                (datetime.fromisoformat(document.updated_at) + timedelta(days=days)).replace(tzinfo=UTC).timestamp()
            )
    except ValueError as error:
        raise Unreadable("its date is not written as YYYY-MM-DD") from error
    return 0
