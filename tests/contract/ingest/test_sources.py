"""Sources beside the folder: SQL (SQLite), HTTP pages and sitemaps, S3, against real servers or files."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from ingest_jobs.knowledge.read.dataset import Dataset, HttpSource, S3Source, SqlSource
from ingest_jobs.knowledge.read.documents import Document, Refusal
from ingest_jobs.knowledge.read.reading import documents_of
from ingest_jobs.knowledge.read.sources import all_units
from pipelines.errors import ConfigError

pytestmark = pytest.mark.contract
Files = dict[str, bytes]


def read(dataset: Dataset) -> tuple[dict[str, str], list[str]]:
    """Return the texts by document, and the reasons of what was set aside."""
    texts: dict[str, str] = {}
    reasons: list[str] = []
    for unit in all_units(dataset):
        for item in documents_of(unit, dataset):
            if isinstance(item, Document):
                texts[item.doc_id] = " ".join(section.text for section in item.sections)
            elif isinstance(item, Refusal):
                reasons.append(item.reason)
    return texts, reasons


@contextmanager
def served(files: Files) -> Iterator[str]:
    """Serve files by path; a path that ends in `?list-type=2` lists them as S3 does. Yields the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            body = listing(files, query) if "list-type" in query else files.get(unquote(parts.path))
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("ETag", '"0"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def listing(files: Files, query: dict[str, list[str]]) -> bytes:
    """Answer ListObjectsV2, one key a page, so that paging is used."""
    prefix, token = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
    keys = sorted(path.removeprefix("/shop/") for path in files)
    left = [key for key in keys if key.startswith(prefix) and key > token]
    item = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-03-04T00:00:00.000Z</LastModified>"
        f'<ETag>"0"</ETag><Size>{len(files["/shop/" + key])}</Size></Contents>'
        for key in left[:1]
    )
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{escape(left[0])}</NextContinuationToken>"
    end = more if len(left) > 1 else "<IsTruncated>false</IsTruncated>"
    return f'<?xml version="1.0"?><ListBucketResult><Name>shop</Name>{item}{end}</ListBucketResult>'.encode()


def test_sql_rows_become_documents(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE product (sku TEXT, name TEXT, price REAL)")
        database.executemany("INSERT INTO product VALUES (?, ?, ?)", [(f"s{n}", f"Tent {n}", n) for n in range(2500)])
    database.close()
    source = SqlSource(kind="sql", name="product", url=f"sqlite:///{path}", query="SELECT * FROM product")
    rule = {"product": {"title": "{name}", "id": "sku", "sentences": [{"say": "{name} costs ${price}."}]}}
    texts, reasons = read(Dataset(sources=[source], tables=rule))
    assert reasons == []
    assert len(texts) == 2500
    assert texts["product#s7"] == "Tent 7 costs $7."


@pytest.mark.parametrize(
    ("url", "query", "message"),
    [
        ("sqlite:///{0}/shop.db", "SELECT * FROM gone", "source t: no such table: gone"),
        ("nosuchdb://x/y", "SELECT 1", "source t: "),
        ("postgresql+psycopg://u@127.0.0.1:1/x", "SELECT 1", "source t: "),
    ],
)
def test_database_that_cannot_be_asked_is_the_operator_s_error(
    tmp_path: Path, url: str, query: str, message: str
) -> None:
    source = SqlSource(kind="sql", name="t", url=url.format(tmp_path), query=query)
    with pytest.raises(ConfigError, match=message):
        read(Dataset(sources=[source]))


def test_pages_of_a_list_and_of_a_sitemap_are_read_and_foreign_hosts_are_not() -> None:
    files: Files = {
        "/help": b"<h1>Help</h1><p>Ask us.</p>",
        "/faq.md": b"# FAQ\nYes.\n",
        "/big.txt": b"x" * 3000,
    }
    with served(files) as base:
        entries = [f"{base}/faq.md", f"{base}/big.txt", f"{base}/gone", "http://other.example/x"]
        items = "".join(f"<url><loc>{url}</loc><lastmod>2026-02-01T00:00:00Z</lastmod></url>" for url in entries)
        files["/sitemap.xml"] = f'<urlset xmlns="http://s.example">{items}</urlset>'.encode()
        inner = f"<sitemap><loc>{base}/sitemap.xml</loc></sitemap>"
        files["/index.xml"] = f'<sitemapindex xmlns="http://s.example">{inner}</sitemapindex>'.encode()
        source = HttpSource(kind="http", urls=[f"{base}/help"], sitemaps=[f"{base}/index.xml"])
        dataset = Dataset(sources=[source], limits={"max_file_bytes": 2048})
        texts, reasons = read(dataset)
        host = base.removeprefix("http://")
        assert texts == {f"{host}/help.html": "Ask us.", f"{host}/faq.md": "Yes."}
        assert [reason.rpartition(": ")[2] for reason in reasons] == ["larger than 2048 bytes", "HTTP status 404"]
        assert {unit.updated_at for unit in all_units(dataset)} == {"", "2026-02-01"}


def test_sitemap_with_entities_or_without_xml_is_refused() -> None:
    with (
        served({"/s.xml": b"<not xml"}) as base,
        pytest.raises(ConfigError, match=r"s\.xml: cannot be read as a sitemap"),
    ):
        read(Dataset(sources=[HttpSource(kind="http", sitemaps=[f"{base}/s.xml"])]))


def test_objects_of_a_bucket_are_listed_page_by_page_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    files: Files = {
        "/shop/docs/a.md": b"# A\nOne.\n",
        "/shop/docs/deep/b.csv": b"name,fee\nTent,5\n",
        "/shop/docs/drafts/c.md": b"# C\nNo.\n",
        "/shop/docs/image.png": b"x",
        "/shop/other/d.md": b"# D\nNo.\n",
    }
    with served(files) as base:
        source = S3Source(
            kind="s3", url="s3://shop/docs/", exclude=["drafts/*"], region="us-east-1", endpoint_url=base
        )  # fmt: skip
        texts, reasons = read(Dataset(sources=[source]))
    assert reasons == []
    assert texts == {"a.md": "One.", "deep/b.csv#Tent#0": "The name of Tent is Tent. The fee of Tent is 5."}
