"""Objects of an S3 bucket, listed page by page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ingest_jobs.knowledge.read.dataset import S3Source
from ingest_jobs.knowledge.read.documents import Unit, Unreadable
from ingest_jobs.knowledge.read.sources.patterns import is_wanted
from pipelines.errors import ConfigError

_SPOOLED_BYTES = 8 * 1024 * 1024


class Bucket:
    """Reads objects. Patterns match the key after the prefix. Objects of over 8 MiB are spooled to disk."""

    def __init__(self, source: S3Source) -> None:
        self._source = source
        self._bucket, _, self._prefix = source.url.removeprefix("s3://").partition("/")

    def units(self, index: int) -> Iterator[Unit]:
        try:
            for page in (
                self._client().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            ):
                for item in page.get("Contents", ()):
                    name = str(item["Key"]).removeprefix(self._prefix).lstrip("/") or str(item["Key"])
                    if is_wanted(name, self._source.include, self._source.exclude):
                        changed = item["LastModified"].date().isoformat()
                        yield Unit(index, name, str(item["Key"]), changed, int(item.get("Size", 0)))
        except (BotoCoreError, ClientError) as error:
            raise ConfigError(f"{self._source.url}: cannot be listed: {error}") from error

    @contextmanager
    def open(self, unit: Unit) -> Iterator[BinaryIO]:
        with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as spool:
            try:
                self._client().download_fileobj(self._bucket, unit.location, spool)
            except (BotoCoreError, ClientError) as error:
                raise Unreadable(f"cannot be fetched: {type(error).__name__}") from error
            spool.seek(0)
            yield spool  # type: ignore[misc]  # a SpooledTemporaryFile is a binary file in all but its type

    def _client(self) -> Any:
        return boto3.client(
            "s3", region_name=self._source.region or None, endpoint_url=self._source.endpoint_url or None
        )
