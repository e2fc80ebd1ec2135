"""Turns PDF and DOCX into blocks with headings. Both are opened only after checking what they would unpack to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ingest_jobs.knowledge.read.dataset import Limits
from ingest_jobs.knowledge.read.documents import Unreadable
from ingest_jobs.knowledge.read.formats.guard import refuse_bomb
from ingest_jobs.knowledge.read.formats.prose import Block


def pdf_blocks(stream: BinaryIO, limits: Limits) -> Iterator[Block]:
    """Yield the lines of each page. PDF has no headings, so a page's text goes under the document's title.

    Raises:
        Unreadable: the file is broken or encrypted, or has too many pages or too much text.
    """
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(stream)
        if reader.is_encrypted:
            raise Unreadable("an encrypted PDF")
        if len(reader.pages) > limits.max_pages:
            raise Unreadable(f"more than {limits.max_pages} pages")
        if title := ((reader.metadata.title if reader.metadata else "") or "").strip():
            yield "title", title
        unpacked = 0
        for number, page in enumerate(reader.pages, start=1):
            text = page.extract_text()
            if (unpacked := unpacked + len(text)) > limits.max_unpacked_bytes:
                raise Unreadable(f"more than {limits.max_unpacked_bytes} bytes of text")
            if text.strip():
                yield "heading", f"page {number}"
                yield "text", " ".join(text.split())
    except Unreadable:
        raise
    # For foreign bytes pypdf raises whatever its parts raise: KeyError, RecursionError, struct.error, ...
    except (PyPdfError, Exception) as error:
        raise Unreadable(f"broken PDF: {type(error).__name__}") from error


def docx_blocks(stream: BinaryIO, limits: Limits) -> Iterator[Block]:
    """Yield headings, paragraphs and table rows (with the names of their columns) in the document's order.

    Raises:
        Unreadable: the file is broken or a zip bomb.
    """
    refuse_bomb(stream, limits)
    from docx import Document as open_docx
    from docx.table import Table

    try:
        for item in open_docx(stream).iter_inner_content():
            if isinstance(item, Table):
                yield from _table_blocks(item)
            elif text := item.text.strip():
                style = (item.style.name or "").lower() if item.style is not None else ""
                kind = "title" if style in {"title", "heading 1"} else "heading" if "heading" in style else "text"
                yield kind, text
    except Exception as error:  # for foreign bytes python-docx and lxml raise whatever their parts raise
        raise Unreadable(f"broken DOCX: {type(error).__name__}") from error


def _table_blocks(table: object) -> Iterator[Block]:
    header, *rows = [[cell.text.strip() for cell in row.cells] for row in table.rows]  # type: ignore[attr-defined]
    for row in rows:
        said = ", ".join(f"{name} {cell}" for name, cell in zip(header, row, strict=False) if cell)
        if said:
            yield "text", f"{said}."
