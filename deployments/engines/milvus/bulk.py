"""Bulk import: passages go as Parquet files into the object store that Milvus reads, and Milvus builds segments of
them.

For full builds of millions of passages on a Milvus cluster. Rows sent by gRPC pass through the proxy, the log and the
growing segments, whereas imported files become sealed segments at once. milvus-lite has no import, so rows are written
there in the usual way (see `VersionStore.can_import`).

    passages ──> Parquet files of at most 256 MiB ──> upload ──> one import job ──> progress until it is complete

The files hold every column but the BM25 vectors, which Milvus computes, as it does for rows that are inserted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_exponential

from deployments.engines.milvus.errors import ENGINE
from deployments.engines.milvus.schema import DENSE, IndexedPassage, row_of
from pipelines.errors import EngineError

Upload = Callable[[Path, str], None]
Progress = Callable[[int], None]
# Milvus accepts files of up to 16 GiB, but smaller ones are imported in parallel and are cheap to retry.
FILE_ROWS = 50_000
_TABLE_ROWS = 1000
_COMPLETED, _FAILED = "Completed", "Failed"
_REQUEST_TIMEOUT_S = 20.0


class BulkImport:
    """Builds one collection from files.

    Args:
        uri: address of Milvus; its REST interface answers on the same port.
        upload: puts a file under a name into the bucket (and below the root path) that Milvus is configured with.
        prefix: beginning of the objects' names. It is unique to a job, so that a retried job reads no old file.
        token: credential, "" for none.
        http: the client to use; None creates one.
    """

    def __init__(
        self, uri: str, upload: Upload, prefix: str, *, token: str = "", http: httpx.Client | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = http or httpx.Client(base_url=uri, headers=headers, timeout=_REQUEST_TIMEOUT_S)
        self._upload = upload
        self._prefix = prefix.strip("/")

    def write(self, passages: Iterable[IndexedPassage], file_rows: int = FILE_ROWS) -> list[str]:
        """Write and upload all passages; return the objects' names. At most one file is in memory and on disk."""
        batches = iter(passages)
        groups = iter(lambda: list(islice(batches, min(file_rows, _TABLE_ROWS))), [])
        return self.write_tables((table_of([row_of(p) for p in group]) for group in groups), file_rows)

    def write_tables(self, tables: Iterable[Any], file_rows: int = FILE_ROWS) -> list[str]:
        """Write and upload tables as `table_of` makes them, several in one file; return the objects' names."""
        names: list[str] = []
        waiting: list[Any] = []
        for table in tables:
            waiting.append(table)
            if sum(len(each) for each in waiting) >= file_rows:
                names.append(self._put(waiting, len(names)))
                waiting = []
        if any(len(each) for each in waiting):
            names.append(self._put(waiting, len(names)))
        return names

    def run(
        self, collection: str, names: list[str], *, timeout_s: float = 3600.0, on_progress: Progress = lambda _: None
    ) -> int:
        """Import the objects into an existing collection and wait until its rows are there; return how many.

        The collection must still be flushed and loaded (`VersionStore.seal`) before it is searched.

        Args:
            collection: name of the collection.
            names: what `write` returned.
            timeout_s: how long to wait for the job.
            on_progress: called with the percentage that is done.

        Raises:
            EngineError: Milvus refused the job or it failed (not retryable), or Milvus is unreachable or too slow
                (retryable).
        """
        created = self._post("create", {"collectionName": collection, "files": [[name] for name in names]})
        job = {"jobId": str(created["jobId"])}
        waiting = Retrying(
            stop=stop_after_delay(timeout_s),
            wait=wait_exponential(multiplier=0.2, max=5),
            retry=retry_if_result(lambda state: state is None) | retry_if_exception_type(httpx.TransportError),
            retry_error_callback=lambda _: None,
        )
        done: dict[str, Any] | None = waiting(lambda: self._finished(job, on_progress))
        if done is None:
            raise EngineError(ENGINE, f"the import was not complete after {timeout_s:.0f} s", retryable=True)
        return int(done.get("importedRows", done.get("totalRows", 0)))

    def _finished(self, job: dict[str, str], on_progress: Progress) -> dict[str, Any] | None:
        """Return the job's description when it is complete, None while it runs."""
        described = self._post("describe", job)
        on_progress(int(described.get("progress", 0)))
        if described.get("state") == _FAILED:
            raise EngineError(ENGINE, f"Milvus failed the import: {described.get('reason', '')}", retryable=False)
        return described if described.get("state") == _COMPLETED else None

    def _put(self, tables: list[Any], number: int) -> str:
        name = f"{self._prefix}/part-{number:05}.parquet"
        with tempfile.TemporaryDirectory(prefix="voxray-bulk-") as folder:
            path = Path(folder) / "part.parquet"
            pq.write_table(pa.concat_tables(tables), path, compression="zstd")
            self._upload(path, name)
        return name

    def _post(self, action: str, content: dict[str, Any]) -> dict[str, Any]:
        """Call one action of the import interface. Milvus always answers 200 and puts its verdict in `code`."""
        reply = self._http.post(f"/v2/vectordb/jobs/import/{action}", json=content)
        if reply.status_code != httpx.codes.OK or (body := reply.json()).get("code") != 0:
            reason = reply.text[:200]
            raise EngineError(ENGINE, f"Milvus refused to {action} an import: {reason}", retryable=False)
        data: dict[str, Any] = body.get("data", {})
        return data


def s3_upload(bucket: str, root: str = "") -> Upload:
    """Return an upload into an S3 bucket. `root` is Milvus's own root path in it (`minio.rootPath`)."""
    import boto3  # costs 0.2 s, and most jobs have no bucket

    client = boto3.client("s3")

    def upload(path: Path, name: str) -> None:
        client.upload_file(str(path), bucket, "/".join(part for part in (root.strip("/"), name) if part))

    return upload


def table_of(rows: list[dict[str, Any]]) -> Any:
    """Return the rows as an Arrow table in Milvus's types: strings, 64-bit integers and lists of 32-bit floats."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    arrays = {
        name: pa.array(values, type=pa.list_(pa.float32())) if name == DENSE else pa.array(values)
        for name, values in columns.items()
    }
    return pa.table(arrays)
