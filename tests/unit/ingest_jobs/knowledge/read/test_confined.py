"""Hostile PDF and DOCX: the process that parses them is ended at its limits, and the next document goes on."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pypdf
import pytest
from pypdf.generic import NameObject, StreamObject

from ingest_jobs.knowledge.read.dataset import MIB, Limits
from ingest_jobs.knowledge.read.documents import Unreadable
from ingest_jobs.knowledge.read.formats.confined import Parser
from tests.unit.ingest_jobs.knowledge.read.test_reading import docx_bytes, pdf_bytes

pytestmark = [pytest.mark.unit, pytest.mark.timeout(60)]


@pytest.fixture
def parser() -> Iterator[Parser]:
    opened = Parser()
    yield opened
    opened.close()


def endless_pdf() -> bytes:
    """Return a small file whose one page takes minutes: a million words of a stream that packs well."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf_bytes()))
    content = StreamObject()
    content.set_data(b"BT /F1 12 Tf (ab) Tj ET\n" * 1_000_000)
    writer.pages[0][NameObject("/Contents")] = writer._add_object(content.flate_encode())
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def greedy_docx() -> bytes:
    """Return a file of 9 MB when unpacked (no bomb, by the ratio) of which a parser makes hundreds."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(docx_bytes())) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename == "word/document.xml":
                data = data.replace(b"<w:body>", b"<w:body>" + b"<w:p/>" * 1_500_000)
            out.writestr(entry.filename, data)
    return target.getvalue()


def test_documents_are_parsed_one_after_the_other_by_one_process(parser: Parser) -> None:
    assert ("title", "Warranty") in parser.blocks(".pdf", io.BytesIO(pdf_bytes()), Limits())
    process = parser._process
    assert parser.blocks(".docx", io.BytesIO(docx_bytes()), Limits())
    assert parser._process is process


def test_document_that_takes_too_long_is_set_aside_and_the_next_is_read(parser: Parser) -> None:
    with pytest.raises(Unreadable, match="took longer than 2 s"):
        parser.blocks(".pdf", io.BytesIO(endless_pdf()), Limits(max_parse_s=2))
    assert parser.blocks(".pdf", io.BytesIO(pdf_bytes()), Limits())


def test_document_that_needs_too_much_memory_is_set_aside_and_the_next_is_read(parser: Parser) -> None:
    with pytest.raises(Unreadable, match="needs more than 67108864 bytes of memory"):
        parser.blocks(".docx", io.BytesIO(greedy_docx()), Limits(max_parse_bytes=64 * MIB))
    assert parser.blocks(".docx", io.BytesIO(docx_bytes()), Limits())


def test_document_that_kills_its_parser_is_set_aside(parser: Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(Unreadable, match="ended its parser"):
        parser.blocks(".pdf", io.BytesIO(pdf_bytes()), Limits())


def test_parser_sees_no_variable_of_the_job(parser: Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", "secret")
    parser.blocks(".pdf", io.BytesIO(pdf_bytes()), Limits())
    assert parser._process is not None
    assert b"secret" not in Path(f"/proc/{parser._process.pid}/environ").read_bytes()
