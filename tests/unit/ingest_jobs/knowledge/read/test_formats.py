"""Formats by themselves: what is refused, and what becomes of prose and tables."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pypdf
import pytest

from ingest_jobs.knowledge.read.dataset import Limits
from ingest_jobs.knowledge.read.documents import Section, Unreadable
from ingest_jobs.knowledge.read.formats.guard import (
    refuse_bomb,
    refuse_formula,
    refuse_script,
    text_encoding,
    whole_text,
)
from ingest_jobs.knowledge.read.formats.office import docx_blocks, pdf_blocks
from ingest_jobs.knowledge.read.formats.prose import headed_sections, html_blocks, markdown_blocks
from ingest_jobs.knowledge.read.formats.tables import csv_rows, json_rows, parquet_rows

pytestmark = pytest.mark.unit
LIMITS = Limits(max_file_bytes=2048, max_line_bytes=1024, max_unpacked_bytes=50_000, max_pages=2)


def shown(rows: Iterable[object]) -> list[object]:
    """Return rows as they are, and in place of those that cannot be read the reason."""
    return [str(row) if isinstance(row, Unreadable) else row for row in rows]


@pytest.mark.parametrize("start", [b"MZ\x90", b"\x7fELF", b"#!/bin/sh", b"text\0"])
def test_programs_and_binary_files_are_no_text(start: bytes) -> None:
    with pytest.raises(Unreadable, match="not text"):
        text_encoding(io.BytesIO(start))


def test_encoding_is_told_by_the_mark_and_the_stream_is_read_from_its_start() -> None:
    for data, said in (
        ("héllo".encode("utf-8-sig"), "héllo"),
        ("héllo".encode("utf-16"), "héllo"),
        (b"plain", "plain"),
    ):
        assert whole_text(io.BytesIO(data), LIMITS) == said
    with pytest.raises(Unreadable, match="not UTF-8"):
        whole_text(io.BytesIO("héllo".encode("latin-1")), LIMITS)


def test_file_of_the_limit_is_read_and_one_byte_more_is_not() -> None:
    assert len(whole_text(io.BytesIO(b"x" * 2048), LIMITS)) == 2048
    with pytest.raises(Unreadable, match="larger than 2048 bytes"):
        whole_text(io.BytesIO(b"x" * 2049), LIMITS)


@pytest.mark.parametrize("text", ["< SCRIPT>", "javascript:x", "<img onerror = x>", "<a onclick=x>"])
def test_script_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="holds a script"):
        refuse_script(text)
    refuse_script("A manuscript on loading, by description.")


@pytest.mark.parametrize("cell", ["=SUM(A1)", " =A1+1", "@cmd|x", '=HYPERLINK("x")', "+cmd|x", "-SUM(1)"])
def test_formula_is_refused(cell: str) -> None:
    with pytest.raises(Unreadable, match="formula"):
        refuse_formula(["plain", cell])


def test_numbers_and_plain_words_are_no_formulas() -> None:
    refuse_formula(["-5", "+1 555 0100", "a=b", "@handle", 7, None, "5 = five"])


def archive(size: int) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", b"\0" * size)
    target.seek(0)
    return target


def test_zip_that_unpacks_to_more_than_allowed_is_refused_unopened() -> None:
    stream = archive(50_000)
    refuse_bomb(stream, LIMITS)
    assert stream.tell() == 0
    with pytest.raises(Unreadable, match=r"zip bomb: .* unpack to 50001"):
        refuse_bomb(archive(50_001), LIMITS)
    with pytest.raises(Unreadable, match="zip bomb"):
        refuse_bomb(archive(11 * 2**20), Limits())
    with pytest.raises(Unreadable, match="broken zip"):
        refuse_bomb(io.BytesIO(b"PK no zip"), LIMITS)


def test_document_is_read_in_its_order_and_a_table_row_stands_alone() -> None:
    document = docx.Document()
    document.add_heading("Returns", 1)
    document.add_heading("Time", 2)
    document.add_paragraph("Thirty days.")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip([c for row in table.rows for c in row.cells], ["Item", "Fee", "Tent", ""], strict=True):
        cell.text = text
    target = io.BytesIO()
    document.save(target)
    large = LIMITS.model_copy(update={"max_unpacked_bytes": 10**7})
    assert list(docx_blocks(io.BytesIO(target.getvalue()), large)) == [
        ("title", "Returns"),
        ("heading", "Time"),
        ("text", "Thirty days."),
        ("text", "Item Tent."),
    ]
    with pytest.raises(Unreadable, match="broken DOCX"):
        list(docx_blocks(archive(10), LIMITS))


def pdf(pages: int, password: str = "", title: str = "") -> io.BytesIO:
    writer, target = pypdf.PdfWriter(), io.BytesIO()
    for _ in range(pages):
        writer.add_blank_page(72, 72)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    writer.write(target)
    target.seek(0)
    return target


@pytest.mark.parametrize(
    ("stream", "reason"),
    [(pdf(3), "more than 2 pages"), (pdf(1, password="x"), "encrypted"), (io.BytesIO(b"%PDF-1.4 no"), "broken PDF")],
    ids=["long", "encrypted", "broken"],
)
def test_pdf_that_cannot_be_read_says_why(stream: io.BytesIO, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        list(pdf_blocks(stream, LIMITS))


def test_pdf_without_text_gives_its_title_alone() -> None:
    assert list(pdf_blocks(pdf(2, title=" Rules "), LIMITS)) == [("title", "Rules")]


def test_text_gathers_under_its_headings_and_the_file_names_a_document_without_a_title() -> None:
    blocks = [("text", "Intro."), ("heading", "Cost"), ("text", "One."), ("text", "Two.")]
    assert headed_sections("ship-rules", iter(blocks)) == [
        Section("Ship rules", "Intro.", ""),
        Section("Ship rules: Cost", "One. Two.", "Cost"),
    ]
    assert headed_sections("x", iter([("title", "Shipping"), *blocks]))[1].title == "Shipping: Cost"


@pytest.mark.parametrize("rule", ["|---|---|", "| :--- | ---: |", "|-|-|", "|:-:|--|"])
def test_markdown_loses_its_marks_and_a_row_is_said_with_its_columns(rule: str) -> None:
    prose = "# Fees\n## Of **tents**\n- See [our page](https://x.invalid)\n\n"
    text = f"{prose}| Size | Fee |\n{rule}\n| big | $5 |\n| - | - |\n| | $1 |\n"
    assert list(markdown_blocks(text)) == [
        ("title", "Fees"),
        ("heading", "Of tents"),
        ("text", "See our page"),
        ("text", "Size big, Fee $5."),
        ("text", "Fee $1."),
    ]


def test_page_is_read_without_scripts_and_navigation() -> None:
    text = "<h1>Fees</h1><nav>Home</nav><script>x()</script><p>A&amp;B <b>cost</b>\n $5<h2>Of tents</h2>tail"
    assert list(html_blocks(text)) == [
        ("title", "Fees"),
        ("text", "A&B cost $5"),
        ("heading", "Of tents"),
        ("text", "tail"),
    ]


def test_ragged_row_is_set_aside_alone() -> None:
    data = 'id;name\n1;"a\nb"\n2\n3;c;d\n4;e\n'
    rows = shown(csv_rows(io.BytesIO(data.encode()), ";", LIMITS))
    assert rows == [
        {"id": "1", "name": "a\nb"},
        "the number of cells differs from the header's",
        "the number of cells differs from the header's",
        {"id": "4", "name": "e"},
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b'id,name\n1,"open', "broken CSV"), (b"id\n" + b"x" * 1025, "a line of more than 1024"), (b"id\n\xff", "UTF-8")],
)
def test_table_that_makes_no_sense_any_more_ends_there(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        list(csv_rows(io.BytesIO(data), ",", LIMITS))


def test_json_line_that_is_none_is_set_aside_alone() -> None:
    long = b'{"a": "' + b"x" * 5000 + b'"}\n'
    data = b'{"a": 1}\n\n[1]\n{"a": \n' + long + b'"\xff"\n{"a": 2}'
    assert shown(json_rows(io.BytesIO(data), LIMITS)) == [
        {"a": 1},
        "not a JSON object",
        "not JSON (Expecting value)",
        "a line of more than 1024 bytes",
        "not UTF-8 text",
        {"a": 2},
    ]


def test_json_in_utf_16_is_refused() -> None:
    with pytest.raises(Unreadable, match="must be UTF-8"):
        list(json_rows(io.BytesIO('{"a": 1}'.encode("utf-16")), LIMITS))


def parquet(**columns: list[Any]) -> io.BytesIO:
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target)
    target.seek(0)
    return target


def test_parquet_rows_are_dictionaries_and_a_large_group_is_refused() -> None:
    assert list(parquet_rows(parquet(a=[1, 2], b=["x", None]), LIMITS)) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    with pytest.raises(Unreadable, match="a row group of"):
        list(parquet_rows(parquet(a=list(range(20_000))), LIMITS))
    reader: Callable[..., Iterable[object]] = parquet_rows
    with pytest.raises(Unreadable, match="broken Parquet"):
        list(reader(io.BytesIO(b"PAR1 no"), LIMITS))
