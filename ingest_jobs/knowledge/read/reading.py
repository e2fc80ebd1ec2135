"""Reads one unit of a source into documents: picks the format, enforces limits, and sets aside what is unreadable."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from ingest_jobs.knowledge.read.dataset import Dataset, SentenceRule, SqlSource, TableRule
from ingest_jobs.knowledge.read.documents import Document, Refusal, Section, Unit, Unreadable
from ingest_jobs.knowledge.read.formats import confined
from ingest_jobs.knowledge.read.formats.guard import refuse_formula, refuse_script, whole_text
from ingest_jobs.knowledge.read.formats.prose import Block, headed_sections, html_blocks, markdown_blocks
from ingest_jobs.knowledge.read.formats.tables import Row, csv_rows, json_rows, parquet_rows
from ingest_jobs.knowledge.read.sources import file_source
from ingest_jobs.knowledge.read.sources.sql import query_rows

Rows = Iterator[Row | Unreadable]
_NO_RULE = TableRule()
_HTML = frozenset({".html", ".htm"})
_JSON = frozenset({".jsonl", ".ndjson"})
_SEPARATED = {".csv": ",", ".tsv": "\t"}


def documents_of(unit: Unit, dataset: Dataset) -> Iterator[Document | Refusal]:
    """Yield the documents of a unit in a stable order. Broken ones yield a `Refusal`, and reading continues.

    Raises:
        ConfigError: a SQL source cannot be queried.
    """
    source = dataset.sources[unit.source_index]
    if isinstance(source, SqlSource):
        yield from _row_documents(unit, query_rows(source), dataset)
        return
    files = file_source(source, dataset.limits.max_file_bytes)
    assert files is not None
    try:
        with files.open(unit) as stream:
            yield from read_stream(unit, stream, dataset)
    except Unreadable as reason:
        yield Refusal(unit.name, f"{unit.name}: {reason}")


def read_stream(unit: Unit, stream: BinaryIO, dataset: Dataset) -> Iterator[Document | Refusal]:
    """Yield the documents of an open file.

    Raises:
        Unreadable: the rest of the file cannot be read.
    """
    suffix = PurePosixPath(unit.name).suffix.lower()
    if suffix in _SEPARATED:
        yield from _row_documents(unit, csv_rows(stream, _SEPARATED[suffix], dataset.limits), dataset)
    elif suffix in _JSON:
        yield from _row_documents(unit, json_rows(stream, dataset.limits), dataset)
    elif suffix == ".parquet":
        yield from _row_documents(unit, parquet_rows(stream, dataset.limits), dataset)
    else:
        sections = headed_sections(PurePosixPath(unit.name).stem, _blocks(suffix, stream, dataset))
        subject = _subject_of_path(unit.name, dataset)
        fields = _fields_of_path(unit.name, dataset)
        yield Document(unit.name, unit.name, unit.updated_at, tuple(sections), subject, fields=tuple(fields.items()))


def _blocks(suffix: str, stream: BinaryIO, dataset: Dataset) -> Iterator[Block]:
    if suffix in confined.SUFFIXES:
        return iter(confined.confined_blocks(suffix, stream, dataset.limits))
    text = whole_text(stream, dataset.limits)
    if suffix in _HTML:
        return html_blocks(text)
    refuse_script(text)
    return markdown_blocks(text)


def _subject_of_path(name: str, dataset: Dataset) -> str:
    found = re.search(dataset.subject_pattern, name) if dataset.subject_pattern else None
    return found["subject"] if found else ""


def _fields_of_path(name: str, dataset: Dataset) -> dict[str, str]:
    found = re.search(dataset.path_fields, name) if dataset.path_fields else None
    return {key: value for key, value in found.groupdict().items() if value} if found else {}


def _fields_of_row(cells: dict[str, str], unit: Unit, rule: TableRule, dataset: Dataset) -> tuple[tuple[str, str], ...]:
    found = _fields_of_path(unit.name, dataset)
    for name in dataset.fields:
        if name in rule.fields:
            found[name] = cells[rule.fields[name]]
        elif name in cells:
            found[name] = cells[name]
    return tuple(found.items())


def _row_documents(unit: Unit, rows: Rows, dataset: Dataset) -> Iterator[Document | Refusal]:
    rule = rule_for(unit.name, dataset)
    seen: Counter[str] = Counter()
    number = 0
    try:
        for number, row in enumerate(rows, start=1):
            try:
                if isinstance(row, Unreadable):
                    raise row
                yield _row_document(unit, row, rule, dataset, seen=seen)
            except Unreadable as reason:
                yield Refusal(f"{unit.name}#{number}", f"{unit.name}, line {number}: {reason}")
    except Unreadable as reason:
        yield Refusal(unit.name, f"{unit.name}, after line {number}: {reason}")


def rule_for(name: str, dataset: Dataset) -> TableRule:
    """Return the rule of a table, by its path or its file name."""
    short = PurePosixPath(name).name
    matching = (r for pattern, r in dataset.tables.items() if fnmatch.fnmatch(short, pattern) or pattern == name)
    return next(matching, _NO_RULE)


def _row_document(unit: Unit, row: Row, rule: TableRule, dataset: Dataset, *, seen: Counter[str]) -> Document:
    refuse_formula(row.values())
    cells = {str(name): _cell(value) for name, value in row.items()}
    try:
        title, text = _row_as_text(cells, rule)
        # Two records with the same name remain two, and adding other rows must not change a record's id.
        name = cells[rule.id] if rule.id else f"{title}#{seen[title]}"
        subject = cells[rule.subject] if rule.subject else _subject_of_path(unit.name, dataset)
        updated_at = cells[rule.updated_at][:10] if rule.updated_at else unit.updated_at
        expires_at = cells[rule.expires_at][:10] if rule.expires_at else ""
        fields = _fields_of_row(cells, unit, rule, dataset)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise Unreadable(f"no column {error}, which the dataset names") from error
    refuse_script(f"{title} {text}")
    if rule.id and seen[name]:
        raise Unreadable(f"a second row with the id in column {rule.id!r}")
    seen[name if rule.id else title] += 1
    doc_id = f"{unit.name}#{name}"
    return Document(doc_id, unit.name, updated_at, (Section(title, text, ""),), subject, expires_at, fields)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return f"{value:g}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def _row_as_text(row: dict[str, str], rule: TableRule) -> tuple[str, str]:
    title = rule.title.format_map(row) if rule.title else next(iter(row.values()), "")
    if rule.sentences:
        return title, " ".join(_sentence(row, sentence) for sentence in rule.sentences)
    hidden = {rule.subject, *rule.drop}
    said = ((name.replace("_", " "), value) for name, value in row.items() if value and name not in hidden)
    return title, " ".join(f"The {name} of {title} is {value}." for name, value in said)


def _sentence(row: dict[str, str], rule: SentenceRule) -> str:
    is_said = not rule.column or row[rule.column] == rule.equals
    return (rule.say if is_said else rule.otherwise).format_map(row)
