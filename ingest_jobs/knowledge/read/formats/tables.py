"""Reads tables row by row, so that a file of any length takes the memory of one row (or one batch for Parquet).

A row is a dictionary by column name. An unreadable row yields `Unreadable` in its place, and reading continues.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from ingest_jobs.knowledge.read.dataset import Limits
from ingest_jobs.knowledge.read.documents import Unreadable
from ingest_jobs.knowledge.read.formats.guard import text_encoding

Row = dict[str, Any]
_PARQUET_BATCH_ROWS = 1024


def csv_rows(stream: BinaryIO, delimiter: str, limits: Limits) -> Iterator[Row | Unreadable]:
    """Yield the rows of a CSV or TSV file with a header.

    Raises:
        Unreadable: the rest of the file makes no sense (wrong encoding, or an endless row).
    """
    text = io.TextIOWrapper(stream, encoding=text_encoding(stream), newline="")
    csv.field_size_limit(limits.max_line_bytes)
    try:
        reader = csv.DictReader(_bounded_lines(text, limits.max_line_bytes), delimiter=delimiter, strict=True)
        for row in reader:
            is_ragged = None in row or None in row.values()
            yield Unreadable("the number of cells differs from the header's") if is_ragged else row
    except UnicodeDecodeError as error:
        raise Unreadable("not UTF-8 text") from error
    except csv.Error as error:
        raise Unreadable(f"broken CSV: {error}") from error
    finally:
        text.detach()


def json_rows(stream: BinaryIO, limits: Limits) -> Iterator[Row | Unreadable]:
    """Yield the objects of a JSON Lines file. Only a line that is no object or too long is set aside."""
    encoding = text_encoding(stream)
    if encoding == "utf-16":
        raise Unreadable("JSON Lines must be UTF-8")
    while line := stream.readline(limits.max_line_bytes + 1):
        if len(line) > limits.max_line_bytes:
            _skip_line(stream, limits.max_line_bytes)
            yield Unreadable(f"a line of more than {limits.max_line_bytes} bytes")
        elif line.strip():
            yield _json_row(line, encoding)


def parquet_rows(stream: BinaryIO, limits: Limits) -> Iterator[Row | Unreadable]:
    """Yield the rows of a Parquet file, batch by batch."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(stream)
        groups = range(file.metadata.num_row_groups)
        unpacked = max((file.metadata.row_group(group).total_byte_size for group in groups), default=0)
        if unpacked > limits.max_unpacked_bytes:
            raise Unreadable(f"a row group of {unpacked} bytes")
        for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise Unreadable(f"broken Parquet: {type(error).__name__}") from error


def _json_row(line: bytes, encoding: str) -> Row | Unreadable:
    try:
        row = json.loads(line.decode(encoding))
    except UnicodeDecodeError:
        return Unreadable("not UTF-8 text")
    except (json.JSONDecodeError, RecursionError) as error:
        return Unreadable(f"not JSON ({getattr(error, 'msg', 'nested too deep')})")
    return row if isinstance(row, dict) else Unreadable("not a JSON object")


def _skip_line(stream: BinaryIO, step_bytes: int) -> None:
    while (piece := stream.readline(step_bytes)) and not piece.endswith(b"\n"):
        pass


def _bounded_lines(text: io.TextIOWrapper, max_chars: int) -> Iterator[str]:
    while line := text.readline(max_chars + 1):
        if len(line) > max_chars:
            raise Unreadable(f"a line of more than {max_chars} characters")
        yield line
