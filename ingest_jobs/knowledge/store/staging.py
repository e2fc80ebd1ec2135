"""Stages batches of rows for a bulk import as files in the jobs' object store."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from deployments.engines.milvus.bulk import table_of
from deployments.engines.milvus.schema import IndexedPassage, row_of
from ingest_jobs.knowledge.store.blobs import Blobs

STAGED = "ingest/bulk/"


def staged_prefix(alias: str, job: str) -> str:
    """Return the prefix of the names of a job's staged files."""
    return f"{STAGED}{alias}/{job}/"


def stage(blobs: Blobs, prefix: str, passages: Sequence[IndexedPassage]) -> None:
    """Write a batch. The same batch gives the same file."""
    name = hashlib.sha256("\0".join(f"{p.key}/{p.chunk_hash}" for p in passages).encode()).hexdigest()[:32]
    target = io.BytesIO()
    pyarrow.parquet.write_table(table_of([row_of(passage) for passage in passages]), target, compression="zstd")
    blobs.put(f"{prefix}{name}.parquet", target.getvalue())


def staged_tables(blobs: Blobs, prefix: str) -> Iterator[tuple[str, pyarrow.Table]]:
    """Yield the names and rows of staged files, one in memory at a time."""
    for name in list(blobs.names(prefix)):
        if (data := blobs.get(name)) is not None:
            yield name, pyarrow.parquet.read_table(io.BytesIO(data))


def forget_staged(blobs: Blobs, prefix: str) -> None:
    """Delete staged files of a job, or those left by killed jobs."""
    for name in list(blobs.names(prefix)):
        blobs.delete(name)


def forget_staged_subject(blobs: Blobs, tenant: str, subject: str) -> int:
    """Delete the files with rows of a person (a digest), and return how many such rows there were.

    The file's other rows are found missing at the end of the job, if it is still running, and are rebuilt.
    """
    found = 0
    for name, table in staged_tables(blobs, STAGED):
        if rows := _rows_of(table, tenant, subject):
            blobs.delete(name)
            found += rows
    return found


def staged_subject_rows(blobs: Blobs, tenant: str, subject: str) -> int:
    """Return how many staged rows belong to a person (a digest)."""
    return sum(_rows_of(table, tenant, subject) for _, table in staged_tables(blobs, STAGED))


def _rows_of(table: pyarrow.Table, tenant: str, subject: str) -> int:
    compute = pyarrow.compute
    is_theirs = compute.and_(compute.equal(table["tenant"], tenant), compute.equal(table["subject"], subject))
    return int(compute.sum(is_theirs).as_py() or 0)
