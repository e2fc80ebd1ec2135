"""Undo files of incremental runs: the replaced and removed rows, as Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow
import pyarrow.parquet

from deployments.engines.milvus.schema import DENSE
from ingest_jobs.knowledge.store.blobs import Blobs

UNDO = "ingest/undo/"
_GROUP_ROWS = 1000


def undo_name(alias: str, tenant: str, job: str) -> str:
    """Return the name of a job's undo file."""
    return f"{UNDO}{alias}/{tenant}/{job}.parquet"


def write_undo(blobs: Blobs, name: str, rows: Iterable[dict[str, Any]], touched: list[str]) -> None:
    """Write the original rows, and the documents (`doc`) that the run touches, including new ones."""
    target, iterator = io.BytesIO(), iter(rows)
    writer: pyarrow.parquet.ParquetWriter | None = None
    while batch := list(islice(iterator, _GROUP_ROWS)):
        table = pyarrow.Table.from_pylist([{**row, DENSE: [float(x) for x in row[DENSE]]} for row in batch])
        if writer is None:
            writer = pyarrow.parquet.ParquetWriter(target, table.schema, compression="zstd")
        writer.write_table(table.cast(writer.schema))
    if writer is not None:
        writer.close()
    blobs.put(name, target.getvalue())
    blobs.put(f"{name}.docs", "\n".join(touched).encode())


def read_undo(blobs: Blobs, name: str) -> tuple[list[str], Iterator[list[dict[str, Any]]]] | None:
    """Return the touched documents and the rows in batches, or None if the file no longer exists."""
    data, docs = blobs.get(name), blobs.get(f"{name}.docs")
    if data is None or docs is None:
        return None
    return docs.decode().split(), _batches(data)


def delete_undo(blobs: Blobs, name: str) -> None:
    """Remove an undo file."""
    blobs.delete(name)
    blobs.delete(f"{name}.docs")


def forget_subject(blobs: Blobs, name: str, subject: str) -> int:
    """Rewrite an undo file without a person's rows, and return how many there were."""
    found = read_undo(blobs, name)
    if found is None:
        return 0
    rows = [row for batch in found[1] for row in batch]
    kept = [row for row in rows if row["subject"] != subject]
    if len(kept) < len(rows):
        write_undo(blobs, name, kept, found[0])
    return len(rows) - len(kept)


def _batches(data: bytes) -> Iterator[list[dict[str, Any]]]:
    if data:
        for batch in pyarrow.parquet.ParquetFile(io.BytesIO(data)).iter_batches(batch_size=_GROUP_ROWS):
            yield batch.to_pylist()
