"""Estimates how many passages the sources will give, by which the index of a new version is chosen.

The index cannot change within a version, so the estimate is made before anything is read. Only the order of magnitude
matters (`index_plan`). Only local tables are opened, for their first rows or (for Parquet) their footer.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pyarrow
import pyarrow.parquet

from ingest_jobs.knowledge.read.dataset import Dataset, FolderSource, SqlSource
from ingest_jobs.knowledge.read.documents import Unit
from ingest_jobs.knowledge.read.sources import all_units
from ingest_jobs.knowledge.read.sources.sql import count_rows

# File size in bytes per token of text. PDF and DOCX also contain fonts and pictures, and HTML contains markup.
_BYTES_A_TOKEN = {".pdf": 25.0, ".docx": 12.0, ".html": 12.0, ".htm": 12.0}
_TEXT_BYTES_A_TOKEN = 4.0
_TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
# Assumed number of rows of a remote table.
_REMOTE_ROW_BYTES = {".parquet": 60.0, **dict.fromkeys(_TABLES, 150.0)}
_SAMPLE_BYTES = 64 * 1024
# Assumed size of a file whose source does not tell it, such as a web page.
_UNKNOWN_ROWS = 10


def expected_rows(dataset: Dataset) -> int:
    """Return approximately how many passages a dataset gives, from the sizes listed by its sources.

    Raises:
        ConfigError: a source cannot be reached.
    """
    return sum(_rows_of(unit, dataset) for unit in all_units(dataset))


def _rows_of(unit: Unit, dataset: Dataset) -> int:
    source = dataset.sources[unit.source_index]
    if isinstance(source, SqlSource):
        return count_rows(source)
    suffix = PurePosixPath(unit.name).suffix.lower()
    if not unit.size_bytes:
        return _UNKNOWN_ROWS
    if suffix in _REMOTE_ROW_BYTES:
        if isinstance(source, FolderSource):
            return _rows_of_file(Path(unit.location), suffix, unit.size_bytes)
        return max(1, round(unit.size_bytes / _REMOTE_ROW_BYTES[suffix]))
    passage_bytes = dataset.chunking.max_tokens * _BYTES_A_TOKEN.get(suffix, _TEXT_BYTES_A_TOKEN)
    return max(1, round(unit.size_bytes / passage_bytes))


def _rows_of_file(path: Path, suffix: str, size_bytes: int) -> int:
    try:
        if suffix == ".parquet":
            return int(pyarrow.parquet.read_metadata(path).num_rows)
        with path.open("rb") as stream:
            sample = stream.read(_SAMPLE_BYTES)
    except (pyarrow.ArrowException, OSError):
        return 0  # the reading stage sets it aside and says why
    return max(1, round(size_bytes * sample.count(b"\n") / max(1, len(sample))))
