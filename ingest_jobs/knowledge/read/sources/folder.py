"""Files of a local or mounted folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ingest_jobs.knowledge.read.dataset import FolderSource
from ingest_jobs.knowledge.read.documents import Unit, Unreadable
from ingest_jobs.knowledge.read.sources.patterns import is_wanted
from pipelines.errors import ConfigError


class Folder:
    """Lists a folder depth first, with one directory in memory at a time.

    Links that leave the folder are not followed.
    """

    def __init__(self, source: FolderSource) -> None:
        self._source = source
        self._root = Path(source.path).resolve()

    def units(self, index: int) -> Iterator[Unit]:
        yield from self._walk(self._root, index)

    @contextmanager
    def open(self, unit: Unit) -> Iterator[BinaryIO]:
        try:
            with Path(unit.location).open("rb") as stream:
                yield stream
        except OSError as error:
            raise Unreadable(f"cannot be opened: {error.strerror}") from error

    def _walk(self, folder: Path, index: int) -> Iterator[Unit]:
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be listed: {error.strerror}") from error
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path), index)
                continue
            path = Path(entry.path)
            name = path.relative_to(self._root).as_posix()
            if not is_wanted(name, self._source.include, self._source.exclude):
                continue
            if entry.is_symlink() and not path.resolve().is_relative_to(self._root):
                continue
            if entry.is_file():
                seen = entry.stat()
                changed = datetime.fromtimestamp(seen.st_mtime, UTC).date().isoformat()
                yield Unit(index, name, entry.path, changed, seen.st_size)
