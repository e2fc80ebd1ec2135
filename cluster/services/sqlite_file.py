"""The local SQL database, a file that needs no process but must exist, be intact and be in WAL mode."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from cluster.services.errors import ServiceError


def sqlite_url(path: Path) -> str:
    """Return the SQLAlchemy URL of a database file."""
    return f"sqlite:///{path}"


def prepare_sqlite(path: Path) -> None:
    """Create the database if needed and switch it to WAL, so that readers never wait for the recorder.

    Raises:
        ServiceError: the file is not a database, is damaged, or is not writable.
    """
    problem = _check(path, is_wal_set=True)
    if problem:
        raise ServiceError("sql", f"{path}: {problem}")


def is_sqlite_ready(path: Path) -> bool:
    """Return whether the file exists and is an intact database."""
    return path.exists() and not _check(path, is_wal_set=False)


def _check(path: Path, *, is_wal_set: bool) -> str:
    try:
        connection = sqlite3.connect(path, timeout=5.0)
        try:
            if is_wal_set:
                mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
                if mode != "wal":
                    return f"journal mode is {mode}: this file system does not support WAL"
            verdict = str(connection.execute("PRAGMA quick_check").fetchone()[0])
            return "" if verdict == "ok" else verdict
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
