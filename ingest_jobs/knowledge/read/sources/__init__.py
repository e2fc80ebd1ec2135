"""The sources of business data: folder, S3, SQL and HTTP. Each streams its units and opens one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from ingest_jobs.knowledge.read.dataset import Dataset, FolderSource, HttpSource, S3Source, Source
from ingest_jobs.knowledge.read.documents import Unit
from ingest_jobs.knowledge.read.sources.folder import Folder
from ingest_jobs.knowledge.read.sources.http import Pages
from ingest_jobs.knowledge.read.sources.s3 import Bucket


class FileSource(Protocol):
    """A source of files.

    `open` returns a seekable stream, and raises `Unreadable` for a file that cannot be fetched.
    """

    def units(self, index: int) -> Iterator[Unit]:
        """Yield the units that the source holds now, in a stable order.

        Raises:
            ConfigError: the source itself cannot be reached.
        """

    def open(self, unit: Unit) -> AbstractContextManager[BinaryIO]:
        """Open one unit of this source."""


def file_source(source: Source, max_file_bytes: int) -> FileSource | None:
    """Return the reader of a source of files, or None for a source of rows (SQL)."""
    if isinstance(source, FolderSource):
        return Folder(source)
    if isinstance(source, S3Source):
        return Bucket(source)
    if isinstance(source, HttpSource):
        return Pages(source, max_file_bytes)
    return None


def all_units(dataset: Dataset) -> Iterator[Unit]:
    """Yield the units of all sources."""
    for index, source in enumerate(dataset.sources):
        files = file_source(source, dataset.limits.max_file_bytes)
        if files is not None:
            yield from files.units(index)
        else:
            yield Unit(index, source.name, "")  # type: ignore[union-attr]  # SQL is the only one left
