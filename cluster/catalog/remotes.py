"""Files over HTTP, in S3 and on this machine, in the form that `transfer` reads."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from cluster.catalog.errors import SourceRefused
from cluster.catalog.transfer import Body, LineBroken, OffsetRefused

CHUNK_BYTES = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class HttpFile:
    """A file behind http(s). `refusal_hint` is added when the server says 401, 403 or 404."""

    url: str
    label: str
    headers: Mapping[str, str] = field(default_factory=dict)
    refusal_hint: str = ""
    trusted_certificates: Path | None = None
    timeout_s: float = 30.0

    @contextmanager
    def open(self, offset: int) -> Iterator[Body]:
        headers = {"Accept-Encoding": "identity", **self.headers}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with _http_errors(), self._client() as client, client.stream("GET", self.url, headers=headers) as response:
            yield self._body(response)

    def _client(self) -> httpx.Client:
        verify: ssl.SSLContext | bool = True
        if self.trusted_certificates is not None:
            verify = httpx.create_ssl_context()
            verify.load_verify_locations(self.trusted_certificates)
        return httpx.Client(follow_redirects=True, timeout=self.timeout_s, verify=verify)

    def _body(self, response: httpx.Response) -> Body:
        status = response.status_code
        if status == 416:
            raise OffsetRefused("the server has no such offset")
        if status in _TRANSIENT_STATUSES:
            raise LineBroken(f"the server answered {status} {response.reason_phrase}")
        if status not in (200, 206):
            hint = f". {self.refusal_hint}" if self.refusal_hint and status in (401, 403, 404) else ""
            raise SourceRefused(f"{self.label}: the server answered {status} {response.reason_phrase}{hint}")
        start, total = 0, _length(response.headers.get("Content-Length"))
        if status == 206:
            matched = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            if matched is None:
                raise OffsetRefused("the server sent a part without saying which")
            start, total = int(matched[1]), _length(matched[2])
        # Bytes are read as they come, without a chunk size, because an incomplete chunk would be lost with the line.
        return Body(start, total, response.iter_raw())


def _length(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


@contextmanager
def _http_errors() -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise LineBroken(str(error) or type(error).__name__) from error
    except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise SourceRefused(str(error)) from error


@dataclass(frozen=True, slots=True)
class S3File:
    """An object in S3 or a compatible store. boto3 finds the credentials."""

    client: Any
    bucket: str
    key: str

    @property
    def label(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @contextmanager
    def open(self, offset: int) -> Iterator[Body]:
        extra = {"Range": f"bytes={offset}-"} if offset else {}
        with s3_errors(self.label):
            answer = self.client.get_object(Bucket=self.bucket, Key=self.key, **extra)
            matched = _CONTENT_RANGE.match(answer.get("ContentRange", ""))
            start = int(matched[1]) if matched else 0
            stream = answer["Body"]
            try:
                yield Body(start, start + int(answer["ContentLength"]), stream.iter_chunks(CHUNK_BYTES))
            finally:
                stream.close()


def s3_file(url: str, path: str, client: Any = None) -> S3File:
    """Return the object `path` below `url` (s3://bucket/prefix), creating a client if none is given."""
    import boto3  # costs 0.2 s, and most sources are others

    parts = urlsplit(url)
    key = "/".join(piece for piece in (parts.path.strip("/"), path) if piece)
    return S3File(client or boto3.client("s3"), parts.netloc, key)


@contextmanager
def s3_errors(label: str) -> Iterator[None]:
    """Map boto3's errors: a broken line is retried, and a refusal becomes a `CatalogError`."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        reason = error.response.get("Error", {}).get("Code", "")
        if status == 416:
            raise OffsetRefused("the store has no such offset") from error
        if status in _TRANSIENT_STATUSES:
            raise LineBroken(f"the store answered {status} {reason}") from error
        raise SourceRefused(f"{label}: the store answered {status} {reason}") from error
    except S3UploadFailedError as error:
        raise SourceRefused(f"{label}: {error}") from error
    except NoCredentialsError as error:
        raise SourceRefused(f"{label}: no AWS credentials found (a role, a profile, or AWS_ACCESS_KEY_ID)") from error
    except BotoCoreError as error:
        raise LineBroken(str(error)) from error


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine."""

    path: Path

    @property
    def label(self) -> str:
        return self.path.name

    @contextmanager
    def open(self, offset: int) -> Iterator[Body]:
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise SourceRefused(f"{self.path}: {error.strerror}") from error
        with stream:
            total = os.fstat(stream.fileno()).st_size
            if offset > total:
                raise OffsetRefused("it is shorter than what was copied")
            stream.seek(offset)
            yield Body(offset, total, iter(lambda: stream.read(CHUNK_BYTES), b""))
