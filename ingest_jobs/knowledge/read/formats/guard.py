"""Refuses programs, scripts, formulas, zip bombs and broken text. Each check raises `Unreadable` with the reason."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from typing import BinaryIO

from ingest_jobs.knowledge.read.dataset import Limits
from ingest_jobs.knowledge.read.documents import Unreadable

_PROGRAM_STARTS = (b"MZ", b"\x7fELF", b"#!")
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
_SCRIPT = re.compile(r"<\s*script\b|javascript\s*:|\bon(?:error|load|click)\s*=", re.IGNORECASE)
# Cells that a spreadsheet would execute: "=SUM(A1)", "@cmd|...", "=HYPERLINK(...)". "-5" and "+1 555 0100" are numbers.
_FORMULA = re.compile(r"^\s*(?:=\s*[A-Za-z+\-@(\"]|[+\-@]\s*[A-Za-z]+\s*[(|!])")
_MAX_ZIP_ENTRIES = 10_000
_MAX_ZIP_RATIO = 200
_RATIO_MATTERS_BYTES = 10 * 1024 * 1024


def text_encoding(stream: BinaryIO) -> str:
    """Return the text encoding found at a stream's start, and rewind the stream.

    Raises:
        Unreadable: the stream is a program or another binary file.
    """
    start = stream.read(4096)
    stream.seek(0)
    if start.startswith(_PROGRAM_STARTS):
        raise Unreadable("a program, not text")
    if start.startswith(_WIDE_BOMS):
        return "utf-16"
    if b"\0" in start:
        raise Unreadable("a binary file, not text")
    return "utf-8-sig"


def whole_text(stream: BinaryIO, limits: Limits) -> str:
    """Return all text of a file that is read as a whole.

    Raises:
        Unreadable: the file is too large, binary, or neither UTF-8 nor UTF-16 with a byte order mark.
    """
    encoding = text_encoding(stream)
    data = stream.read(limits.max_file_bytes + 1)
    if len(data) > limits.max_file_bytes:
        raise Unreadable(f"larger than {limits.max_file_bytes} bytes")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable("not UTF-8 text") from error


def refuse_script(text: str) -> None:
    """Raise for text that contains a script.

    Those in HTML are cut out, but nothing else has a reason to contain one.
    """
    if _SCRIPT.search(text):
        raise Unreadable("holds a script")


def refuse_formula(cells: Iterable[object]) -> None:
    """Raise for a row with a cell that a spreadsheet would execute."""
    if any(isinstance(cell, str) and _FORMULA.match(cell) for cell in cells):
        raise Unreadable("a cell holds a formula")


def refuse_bomb(stream: BinaryIO, limits: Limits) -> None:
    """Raise for a zip file that unpacks to more than allowed, and rewind the stream."""
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Unreadable("a broken zip file") from error
    stream.seek(0)
    if len(entries) > _MAX_ZIP_ENTRIES:
        raise Unreadable(f"a zip file of more than {_MAX_ZIP_ENTRIES} entries")
    unpacked = sum(entry.file_size for entry in entries)
    packed = max(1, sum(entry.compress_size for entry in entries))
    is_steep = unpacked > _RATIO_MATTERS_BYTES and unpacked / packed > _MAX_ZIP_RATIO
    if unpacked > limits.max_unpacked_bytes or is_steep:
        raise Unreadable(f"a zip bomb: {packed} bytes unpack to {unpacked}")
