"""Decides which files of a source are read."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import PurePosixPath

from ingest_jobs.knowledge.read.dataset import DATASET_FILE

READABLE_SUFFIXES = frozenset(
    {".md", ".markdown", ".html", ".htm", ".csv", ".tsv", ".jsonl", ".ndjson", ".txt", ".parquet", ".pdf", ".docx"}
)


def is_wanted(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Return whether a path is readable business data, by its suffix and by patterns on its path and file name."""
    path = PurePosixPath(name)

    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatch(name, p) or fnmatch.fnmatch(path.name, p) for p in patterns)

    is_data = path.suffix.lower() in READABLE_SUFFIXES and path.name != DATASET_FILE
    return is_data and matches(include) and not matches(exclude)
