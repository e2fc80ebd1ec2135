"""The object store of the jobs, for reports, undo files, tombstones and receipts: a local folder or S3."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.errors import Component, EngineError


class Blobs(Protocol):
    """Small files by name ("reports/x.json"), which are written atomically."""

    def put(self, name: str, data: bytes) -> None:
        """Write a file, replacing an existing one."""

    def get(self, name: str) -> bytes | None:
        """Return the contents of a file, or None if it does not exist."""

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names that start with `prefix`, sorted."""

    def delete(self, name: str) -> None:
        """Remove a file. Does nothing if it does not exist."""


class FolderBlobs:
    """Files below a folder, readable only by their owner."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, data: bytes) -> None:
        path = self._root / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(part).replace(path)

    def get(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, prefix: str) -> Iterator[str]:
        folder = self._root / prefix.rpartition("/")[0]
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(self._root).as_posix()
            if path.is_file() and not path.name.startswith(".part-") and name.startswith(prefix):
                yield name

    def delete(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)


class S3Blobs:
    """Objects below s3://BUCKET/PREFIX. boto3 finds the credentials."""

    def __init__(self, url: str) -> None:
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        self._client = boto3.client("s3")

    def put(self, name: str, data: bytes) -> None:
        self._call("put_object", Key=self._prefix + name, Body=data)

    def get(self, name: str) -> bytes | None:
        try:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
            return body
        except self._client.exceptions.NoSuchKey:
            return None
        except (BotoCoreError, ClientError) as error:
            raise _failure(error) from error

    def names(self, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        try:
            for page in pages:
                for item in page.get("Contents", ()):
                    yield str(item["Key"]).removeprefix(self._prefix)
        except (BotoCoreError, ClientError) as error:
            raise _failure(error) from error

    def delete(self, name: str) -> None:
        self._call("delete_object", Key=self._prefix + name)

    def _call(self, operation: str, **arguments: Any) -> None:
        try:
            getattr(self._client, operation)(Bucket=self._bucket, **arguments)
        except (BotoCoreError, ClientError) as error:
            raise _failure(error) from error


class MemoryBlobs:
    """Files in memory that vanish with the process, for a run whose report is not kept."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def put(self, name: str, data: bytes) -> None:
        self._files[name] = data

    def get(self, name: str) -> bytes | None:
        return self._files.get(name)

    def names(self, prefix: str) -> Iterator[str]:
        return iter(sorted(name for name in self._files if name.startswith(prefix)))

    def delete(self, name: str) -> None:
        self._files.pop(name, None)


def open_blobs(url: str) -> Blobs:
    """Open the object store at `url`: s3://BUCKET/PREFIX, a folder, or "" for memory."""
    if not url:
        return MemoryBlobs()
    return S3Blobs(url) if url.startswith("s3://") else FolderBlobs(Path(url.removeprefix("file://")))


def put_json(blobs: Blobs, name: str, value: Any) -> None:
    """Write a value as JSON."""
    blobs.put(name, json.dumps(value, indent=1, sort_keys=True).encode())


def get_json(blobs: Blobs, name: str) -> Any:
    """Return a value that `put_json` wrote, or None if there is none."""
    data = blobs.get(name)
    return None if data is None else json.loads(data)


def _failure(error: Exception) -> EngineError:
    return EngineError(Component.OBJECT_STORE, f"the object store failed: {type(error).__name__}", retryable=True)
