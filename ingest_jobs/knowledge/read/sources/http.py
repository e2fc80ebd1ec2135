"""Web pages, given by URLs and sitemaps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx
from lxml import etree

from ingest_jobs.knowledge.read.dataset import HttpSource
from ingest_jobs.knowledge.read.documents import Unit, Unreadable
from ingest_jobs.knowledge.read.sources.patterns import READABLE_SUFFIXES
from pipelines.errors import ConfigError

_SITEMAP_BYTES = 50 * 1024 * 1024  # the limit of the sitemap protocol
_SPOOLED_BYTES = 8 * 1024 * 1024
_SITEMAP_DEPTH = 2  # an index and the sitemaps that it names


class Pages:
    """Reads pages. A page's name is its URL without the scheme, and its format follows the path's suffix, else HTML."""

    def __init__(self, source: HttpSource, max_file_bytes: int) -> None:
        self._source = source
        self._max_bytes = max_file_bytes

    def units(self, index: int) -> Iterator[Unit]:
        for url in self._source.urls:
            yield _unit(index, url, "")
        for sitemap in self._source.sitemaps:
            for url, changed in self._pages_of(sitemap, urlsplit(sitemap).netloc, _SITEMAP_DEPTH):
                yield _unit(index, url, changed)

    @contextmanager
    def open(self, unit: Unit) -> Iterator[BinaryIO]:
        with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as spool:
            for piece in self._fetched(unit.location, self._max_bytes):
                spool.write(piece)
            spool.seek(0)
            yield spool  # type: ignore[misc]  # a SpooledTemporaryFile is a binary file in all but its type

    def _fetched(self, url: str, max_bytes: int) -> Iterator[bytes]:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise Unreadable("not an http or https URL")
        total = 0
        try:
            with (
                httpx.Client(timeout=self._source.timeout_s, follow_redirects=True, max_redirects=3) as client,
                client.stream("GET", url) as answer,
            ):
                answer.raise_for_status()
                for piece in answer.iter_bytes():
                    if (total := total + len(piece)) > max_bytes:
                        raise Unreadable(f"larger than {max_bytes} bytes")
                    yield piece
        except httpx.HTTPStatusError as error:
            raise Unreadable(f"HTTP status {error.response.status_code}") from error
        except httpx.HTTPError as error:
            raise Unreadable(f"cannot be fetched: {type(error).__name__}") from error

    def _pages_of(self, sitemap: str, host: str, depth: int) -> Iterator[tuple[str, str]]:
        try:
            data = b"".join(self._fetched(sitemap, _SITEMAP_BYTES))
            # A sitemap is foreign text, so it is parsed without entities and network access.
            tree = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False))
        except (Unreadable, etree.XMLSyntaxError) as error:
            raise ConfigError(f"{sitemap}: cannot be read as a sitemap: {error}") from error
        is_index = etree.QName(tree).localname == "sitemapindex"
        for entry in tree:
            url = (entry.findtext("{*}loc") or "").strip()
            if urlsplit(url).netloc != host:
                continue
            if not is_index:
                yield url, (entry.findtext("{*}lastmod") or "").strip()[:10]
            elif depth > 1:
                yield from self._pages_of(url, host, depth - 1)


def _unit(index: int, url: str, changed: str) -> Unit:
    parts = urlsplit(url)
    name = f"{parts.netloc}{parts.path}".rstrip("/") + (f"?{parts.query}" if parts.query else "")
    suffix = PurePosixPath(parts.path).suffix.lower()
    return Unit(index, name if suffix in READABLE_SUFFIXES and not parts.query else f"{name}.html", url, changed)
