"""Records on disk what a run has seen, so that millions of documents take no more memory than a thousand."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_SCHEMA = """
CREATE TABLE wanted (key TEXT PRIMARY KEY, chunk_hash TEXT) WITHOUT ROWID;
CREATE TABLE found (key TEXT PRIMARY KEY, chunk_hash TEXT) WITHOUT ROWID;
CREATE TABLE taken (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE live (doc TEXT PRIMARY KEY, doc_hash TEXT, wanted INTEGER, found INTEGER) WITHOUT ROWID;
CREATE TABLE seen (doc TEXT PRIMARY KEY, doc_hash TEXT) WITHOUT ROWID;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -4096;
"""


class Journal:
    """Compares the chunks a collection should have with those it has, and the live documents with the sources.

    The journal is a file that is deleted with the run. What must outlive the run is stored in the collection.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="voxray-journal-")
        self._db = sqlite3.connect(Path(self._folder.name) / "journal.sqlite", isolation_level=None)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Remove the file."""
        self._db.close()
        self._folder.cleanup()

    def want(self, chunks: Iterable[tuple[str, str]]) -> None:
        """Record chunks (key, hash) that the collection should have."""
        self._many("INSERT OR REPLACE INTO wanted VALUES (?, ?)", chunks)

    def find(self, chunks: Iterable[tuple[str, str]]) -> None:
        """Record the chunks (key, hash) that the collection has, forgetting those recorded before."""
        self._db.execute("DELETE FROM found")
        self._many("INSERT OR REPLACE INTO found VALUES (?, ?)", chunks)

    def missing(self) -> int:
        """Return how many chunks the collection lacks or has in a different form."""
        query = "SELECT count(*) FROM wanted w LEFT JOIN found f USING (key) WHERE f.chunk_hash IS NOT w.chunk_hash"
        return int(self._db.execute(query).fetchone()[0])

    def surplus(self) -> list[str]:
        """Return the keys of chunks that the collection should not have."""
        query = "SELECT key FROM found WHERE key NOT IN (SELECT key FROM wanted)"
        return [row[0] for row in self._db.execute(query)]

    def is_wanted(self, key: str) -> bool:
        """Return whether the collection should have a chunk."""
        return self._db.execute("SELECT 1 FROM wanted WHERE key = ?", (key,)).fetchone() is not None

    def take(self, key: str, chunk_hash: str) -> bool:
        """Take a chunk if it is wanted in this form and was not taken before. Returns whether it was taken."""
        query = "INSERT OR IGNORE INTO taken SELECT key FROM wanted WHERE key = ? AND chunk_hash = ?"
        return self._db.execute(query, (key, chunk_hash)).rowcount == 1

    def wanted_count(self) -> int:
        """Return how many chunks the collection should have."""
        return int(self._db.execute("SELECT count(*) FROM wanted").fetchone()[0])

    def add_live_rows(self, rows: Iterable[tuple[str, str]]) -> None:
        """Record rows (doc, doc_hash with the number of chunks) of the live collection."""
        self._many(
            "INSERT INTO live VALUES (?, ?, ?, 1) ON CONFLICT (doc) DO UPDATE SET found = found + 1,"
            " doc_hash = CASE WHEN doc_hash = excluded.doc_hash THEN doc_hash ELSE '' END",
            ((doc, *_parted(doc_hash)) for doc, doc_hash in rows),
        )

    def live_hash(self, doc: str) -> str | None:
        """Return the content hash of a live document, "" if it is incomplete, or None if there is none."""
        row = self._db.execute("SELECT doc_hash, wanted, found FROM live WHERE doc = ?", (doc,)).fetchone()
        if row is None:
            return None
        return str(row[0]) if row[1] == row[2] else ""

    def see(self, doc: str, doc_hash: str) -> bool:
        """Record a document of the sources. Returns False if it was seen before."""
        return self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (doc, doc_hash)).rowcount == 1

    def seen_count(self) -> int:
        """Return how many documents the sources have."""
        return int(self._db.execute("SELECT count(*) FROM seen").fetchone()[0])

    def live_count(self) -> int:
        """Return how many documents the live collection has."""
        return int(self._db.execute("SELECT count(*) FROM live").fetchone()[0])

    def seen_hash(self, doc: str) -> str | None:
        """Return the content hash of a document of the sources, or None if they do not have it."""
        row = self._db.execute("SELECT doc_hash FROM seen WHERE doc = ?", (doc,)).fetchone()
        return None if row is None else str(row[0])

    def some_live(self, limit: int) -> list[str]:
        """Return some live documents that are unchanged in the sources, and always the same ones.

        Documents are named by hashes, so the first ones are an arbitrary sample.
        """
        query = "SELECT doc FROM live JOIN seen USING (doc) WHERE live.doc_hash = seen.doc_hash ORDER BY doc LIMIT ?"
        return [row[0] for row in self._db.execute(query, (limit,))]

    def unseen_live(self) -> Iterator[str]:
        """Yield the live documents that no source has."""
        for row in self._db.execute("SELECT doc FROM live WHERE doc NOT IN (SELECT doc FROM seen)"):
            yield row[0]

    def _many(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(statement, rows)
        self._db.execute("COMMIT")


def _parted(doc_hash: str) -> tuple[str, int]:
    content, _, count = doc_hash.partition("/")
    return content, int(count or 0)
