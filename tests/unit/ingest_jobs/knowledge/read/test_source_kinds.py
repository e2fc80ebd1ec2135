"""Sources by themselves: a folder, a bucket, a database and pages, none of them outside of this process."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from ingest_jobs.knowledge.operate.check import main as check
from ingest_jobs.knowledge.read.dataset import DATASET_FILE, FolderSource, HttpSource, S3Source, SqlSource
from ingest_jobs.knowledge.read.documents import Unit, Unreadable
from ingest_jobs.knowledge.read.sources.folder import Folder
from ingest_jobs.knowledge.read.sources.http import Pages
from ingest_jobs.knowledge.read.sources.s3 import Bucket
from ingest_jobs.knowledge.read.sources.sql import count_rows, query_rows
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit


def test_folder_lists_what_is_wanted_in_order_and_follows_no_link_outside(tmp_path: Path) -> None:
    root, outside = tmp_path / "data", tmp_path / "secret.md"
    (root / "deep").mkdir(parents=True)
    outside.write_text("secret")
    for name in ("b.md", "deep/a.md", "deep/skip.md", "program.exe", DATASET_FILE):
        (root / name).write_text("text")
    (root / "link.md").symlink_to(outside)
    (root / "within.md").symlink_to(root / "b.md")
    os.utime(root / "b.md", (86_400, 86_400))
    found = list(Folder(FolderSource(path=str(root), exclude=("skip.*",))).units(3))
    assert [unit.name for unit in found] == ["b.md", "deep/a.md", "within.md"]
    assert found[0] == Unit(3, "b.md", str(root.resolve() / "b.md"), "1970-01-02", 4)


def test_folder_that_is_not_there_and_a_file_that_has_gone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be listed: No such file"):
        list(Folder(FolderSource(path=str(tmp_path / "none"))).units(0))
    folder = Folder(FolderSource(path=str(tmp_path)))
    with pytest.raises(Unreadable, match="cannot be opened: No such file"), folder.open(Unit(0, "x", "/none/x.md")):
        pass


class S3:
    """Stands in the place of boto3's client."""

    def __init__(self, *keys: str, refuses: bool = False) -> None:
        self.keys, self.refuses, self.asked = keys, refuses, {}  # type: ignore[var-annotated]

    def get_paginator(self, _name: str) -> S3:
        return self

    def paginate(self, **asked: str) -> list[dict[str, Any]]:
        self._refuse()
        self.asked = asked
        changed = datetime(2026, 1, 2, tzinfo=UTC)
        contents = [{"Key": key, "LastModified": changed, "Size": 5} for key in self.keys]
        return [{}, {"Contents": contents}]

    def download_fileobj(self, bucket: str, key: str, target: Any) -> None:
        self._refuse()
        target.write(f"{bucket} {key}".encode())

    def _refuse(self) -> None:
        if self.refuses:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")


def bucket(monkeypatch: pytest.MonkeyPatch, client: S3) -> Bucket:
    monkeypatch.setattr("ingest_jobs.knowledge.read.sources.s3.boto3.client", lambda *_a, **_k: client)
    return Bucket(S3Source(kind="s3", url="s3://company/docs/", include=("faq/*",)))


def test_objects_are_named_behind_the_prefix_and_read_by_their_whole_key(monkeypatch: pytest.MonkeyPatch) -> None:
    client = S3("docs/faq/a.md", "docs/other/b.md", "docs/faq/c.exe")
    source = bucket(monkeypatch, client)
    (unit,) = source.units(1)
    assert unit == Unit(1, "faq/a.md", "docs/faq/a.md", "2026-01-02", 5)
    assert client.asked == {"Bucket": "company", "Prefix": "docs/"}
    with source.open(unit) as stream:
        assert stream.read() == b"company docs/faq/a.md"


def test_bucket_that_refuses_is_named_and_one_object_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    source = bucket(monkeypatch, S3(refuses=True))
    with pytest.raises(ConfigError, match=r"s3://company/docs/: cannot be listed: .*AccessDenied"):
        list(source.units(0))
    with pytest.raises(Unreadable, match="cannot be fetched: ClientError"), source.open(Unit(0, "x", "docs/x")):
        pass


@pytest.fixture
def database(tmp_path: Path) -> str:
    file = tmp_path / "x.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, item TEXT)")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", [(1, "tent"), (2, None), (3, "rope")])
        connection.commit()
    return f"sqlite:///{file}"


def query(url: str, text: str, **more: Any) -> SqlSource:
    return SqlSource(kind="sql", name="orders", url=url, query=text, **more)


def test_query_gives_rows_by_column_and_their_number(database: str) -> None:
    source = query(database, "SELECT id, item FROM orders WHERE id < 3 ORDER BY id ; ", batch_rows=1)
    assert count_rows(source) == 2
    plain = query(database, "SELECT id, item FROM orders WHERE id < 3 ORDER BY id", batch_rows=1)
    assert list(query_rows(plain)) == [{"id": 1, "item": "tent"}, {"id": 2, "item": None}]


def test_failure_of_a_database_names_the_source_and_no_password(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="source orders: no such table: none"):
        list(query_rows(query(database, "SELECT * FROM none")))
    with pytest.raises(ConfigError, match="source orders: "):
        count_rows(query("no url", "SELECT 1"))
    monkeypatch.setenv("ORDERS_PASSWORD", "geheim")
    with pytest.raises(ConfigError) as caught:
        count_rows(query("nosuchdriver://user@host/x", "SELECT 1", password_env="ORDERS_PASSWORD"))
    assert "geheim" not in str(caught.value)


def served(monkeypatch: pytest.MonkeyPatch, pages: dict[str, bytes | int]) -> None:
    """Let these pages be the web: a body, or the status of a page that has none."""

    def answer(request: httpx.Request) -> httpx.Response:
        page = pages.get(str(request.url), 404)
        return httpx.Response(page) if isinstance(page, int) else httpx.Response(200, content=page)

    plain = httpx.Client

    def client(**options: Any) -> httpx.Client:
        return plain(transport=httpx.MockTransport(answer), **options)

    monkeypatch.setattr("ingest_jobs.knowledge.read.sources.http.httpx.Client", client)


def sitemap(kind: str, *entries: str) -> bytes:
    space = "http://www.sitemaps.org/schemas/sitemap/0.9"
    return f'<{kind} xmlns="{space}">{"".join(f"<url>{entry}</url>" for entry in entries)}</{kind}>'.encode()


def test_pages_are_named_by_their_place_and_format() -> None:
    urls = ("https://x.invalid/", "https://x.invalid/a/b.pdf", "https://x.invalid/a.pdf?page=2")
    found = list(Pages(HttpSource(kind="http", urls=urls), 100).units(0))
    assert [unit.name for unit in found] == ["x.invalid.html", "x.invalid/a/b.pdf", "x.invalid/a.pdf?page=2.html"]


def test_sitemap_is_followed_within_its_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: dict[str, bytes | int] = {
        "https://x.invalid/map.xml": sitemap("sitemapindex", "<loc>https://x.invalid/one.xml</loc>"),
        "https://x.invalid/one.xml": sitemap(
            "urlset",
            "<loc> https://x.invalid/faq </loc><lastmod>2026-01-02T10:00:00Z</lastmod>",
            "<loc>https://elsewhere.invalid/x</loc>",
        ),
    }
    served(monkeypatch, pages)
    source = HttpSource(kind="http", sitemaps=("https://x.invalid/map.xml",))
    assert list(Pages(source, 100).units(2)) == [Unit(2, "x.invalid/faq.html", "https://x.invalid/faq", "2026-01-02")]


def test_sitemap_that_is_none_ends_the_job_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch, {"https://x.invalid/map.xml": b"no xml"})
    for place in ("map.xml", "none.xml"):
        source = HttpSource(kind="http", sitemaps=(f"https://x.invalid/{place}",))
        with pytest.raises(ConfigError, match=rf"^https://x\.invalid/{place}: cannot be read as a sitemap"):
            list(Pages(source, 100).units(0))


def test_page_is_read_to_its_limit_and_failures_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    served(
        monkeypatch,
        {"https://x.invalid/fit": b"x" * 100, "https://x.invalid/big": b"x" * 101, "https://x.invalid/no": 500},
    )
    pages = Pages(HttpSource(kind="http", urls=("https://x.invalid/fit",)), 100)
    with pages.open(Unit(0, "fit", "https://x.invalid/fit")) as stream:
        assert len(stream.read()) == 100
    for url, reason in (
        ("https://x.invalid/big", "larger than 100 bytes"),
        ("https://x.invalid/no", "HTTP status 500"),
        ("file:///etc/passwd", "not an http or https URL"),
    ):
        with pytest.raises(Unreadable, match=reason), pages.open(Unit(0, "x", url)):
            pass


def test_description_is_checked_and_its_mistake_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.md").write_text("# A\nText.")
    assert check([str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""
    (tmp_path / DATASET_FILE).write_text("no_such_key: 1\n")
    assert check([str(tmp_path)]) == 2
    assert "no_such_key" in capsys.readouterr().err
