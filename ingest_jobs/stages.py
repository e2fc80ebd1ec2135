"""The stages of the ingest job, pure: read -> normalise -> chunk. Ray Data and the in-process run share them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ingest_jobs.dataset import Dataset
from ingest_jobs.readers import Section, read_sections
from pipelines.errors import ConfigError
from pipelines.text.terms import sentences

# Part of the fingerprint: raise it when a stage changes what it makes of the same file.
PIPELINE_VERSION = "2"
MAX_CHUNK_WORDS = 80


@dataclass(frozen=True, slots=True)
class Chunk:
    """One passage to index. `key` is the same for the same tenant, file, section and position, run after run."""

    key: str
    tenant: str
    title: str
    text: str
    source: str
    updated_at: str


def chunks_of_file(path: Path, root: Path, dataset: Dataset, tenant: str) -> list[Chunk]:
    """Read one file and cut it into passages: all pure stages in a row.

    Raises:
        ConfigError: the file is not UTF-8 text, or does not fit its rule.
    """
    name = path.relative_to(root).as_posix()
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text") from error
    updated_at = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
    chunks: list[Chunk] = []
    for section in read_sections(name, text, dataset):
        for position, piece in enumerate(split_section(normalise(section))):
            key = chunk_key(tenant, name, section.anchor, position)
            chunks.append(Chunk(key, tenant, section.title, piece, name, updated_at))
    return chunks


def normalise(section: Section) -> Section:
    """Bring text into one form: NFKC, plain spaces and quotes, no control characters."""
    return Section(_clean(section.title), _clean(section.text), section.anchor)


def _clean(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'})
    printable = "".join(ch if unicodedata.category(ch)[0] != "C" else " " for ch in folded)
    return re.sub(r"\s+", " ", printable).strip()


def split_section(section: Section) -> Iterator[str]:
    """Yield passages of whole sentences, at most `MAX_CHUNK_WORDS` words each; one longer sentence is cut at words."""
    piece: list[str] = []
    for sentence in sentences(section.text):
        words = sentence.split()
        if piece and len(piece) + len(words) > MAX_CHUNK_WORDS:
            yield " ".join(piece)
            piece = []
        piece += words
        while len(piece) > MAX_CHUNK_WORDS:
            yield " ".join(piece[:MAX_CHUNK_WORDS])
            piece = piece[MAX_CHUNK_WORDS:]
    if piece:
        yield " ".join(piece)


def chunk_key(tenant: str, name: str, anchor: str, position: int) -> str:
    """Return the deterministic primary key of a passage (32 hex digits)."""
    return hashlib.sha256("\0".join((tenant, name, anchor, str(position))).encode()).hexdigest()[:32]


def embedding_text(title: str, text: str) -> str:
    """Return what is embedded: the passage under its title, since a row's text alone may not name its subject."""
    return f"{title}. {text}"
