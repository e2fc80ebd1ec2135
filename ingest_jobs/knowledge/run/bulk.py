"""Large first builds with Milvus's bulk import: rows are stored as files, from which Milvus builds segments.

    writing workers ── staged files, one a batch ──> object store of the jobs
    driver ── every wanted row once, in files of 50,000 ──> Milvus's bucket ── import ──> the new version

A batch that is written again because a worker died produces the same staged file, so nothing is duplicated. Staged rows
that are no longer wanted are left out. Lost rows are detected afterwards and written row by row. An import does not
replace existing rows, so it is not used for a version that is resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import pyarrow

from cluster.config.environment import process_environment, secret
from deployments.engines.milvus.bulk import BulkImport, Upload, s3_upload
from ingest_jobs.knowledge.run.job import Job
from ingest_jobs.knowledge.run.journal import Journal
from ingest_jobs.knowledge.store.blobs import Blobs
from ingest_jobs.knowledge.store.staging import forget_staged, staged_prefix, staged_tables

# Below this number, rows are written sooner than an import would be scheduled.
BULK_FROM_ROWS = 100_000


def is_bulk(job: Job, *, is_resumed: bool) -> bool:
    """Return whether to import a build: it is large and new, both sides have storage, and the server supports it."""
    is_large = job.reporter.report.expected_rows >= BULK_FROM_ROWS
    has_storage = bool(job.request.bulk_url and job.request.objects_url)
    return has_storage and is_large and not is_resumed and job.store.can_import()


def import_staged(job: Job, journal: Journal, collection: str) -> None:
    """Import the rows that workers have staged, then delete the staged files.

    Raises:
        EngineError: Milvus refused the import, or cannot be reached.
    """
    prefix = staged_prefix(job.plan.alias, job.reporter.report.job)
    token = secret(process_environment(), job.plan.token_env, needed_by="services.milvus.token_env")
    bulk = BulkImport(job.plan.milvus_uri, _upload_to(job.request.bulk_url), f"voxray/{collection}", token=token)
    names = bulk.write_tables(_wanted(job.blobs, prefix, journal))
    if names:
        job.reporter.report.imported = bulk.run(collection, names, on_progress=job.reporter.tell_import)
    forget_staged(job.blobs, prefix)


def _upload_to(url: str) -> Upload:
    """Return a function that uploads to s3://BUCKET/ROOT, or to a folder that Milvus reads."""
    if url.startswith("s3://"):
        bucket, _, root = url.removeprefix("s3://").partition("/")
        return s3_upload(bucket, root)

    def copy(path: Path, name: str) -> None:
        target = Path(url) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copyfile(path, target)

    return copy


def _wanted(blobs: Blobs, prefix: str, journal: Journal) -> Iterator[pyarrow.Table]:
    """Yield each staged row that the version should have, once."""
    for _, table in staged_tables(blobs, prefix):
        chunks = zip(table["pk"].to_pylist(), table["chunk_hash"].to_pylist(), strict=True)
        yield table.filter(pyarrow.array([journal.take(key, chunk_hash) for key, chunk_hash in chunks]))
