"""Files to sections. One function per format; all pure over the file's text.

A section is the smallest piece that stands for one thing: a heading with its text, one table row, one record.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import PurePosixPath
from typing import Any

from ingest_jobs.dataset import Dataset, SentenceRule, TableRule
from pipelines.errors import ConfigError

_MARKDOWN_NOISE = re.compile(r"[*_`]{1,3}|!?\[([^\]]*)\]\([^)]*\)")
_SKIPPED_TAGS = frozenset({"script", "style", "nav", "footer", "head", "template"})
_HEADING_TAGS = frozenset({"h1", "h2", "h3", "h4"})
_BLOCK_TAGS = frozenset({"p", "li", "td", "th", "tr", "div", "section", "br", "dd", "dt"}) | _HEADING_TAGS


@dataclass(frozen=True, slots=True)
class Section:
    """A titled piece of a document.

    Attributes:
        title: "Document: Heading", or the record's name.
        text: plain sentences.
        anchor: unique in the file, the same run after run.
    """

    title: str
    text: str
    anchor: str


def read_sections(name: str, text: str, dataset: Dataset) -> list[Section]:
    """Cut one file's text into sections, by the suffix of `name`.

    Raises:
        ConfigError: a table row lacks a column that its rule names, or a JSON line is broken.
    """
    path = PurePosixPath(name)
    rule = dataset.tables.get(path.name)
    suffix = path.suffix.lower()
    if suffix in {".csv", ".tsv"}:
        rows = csv.DictReader(io.StringIO(text), delimiter="\t" if suffix == ".tsv" else ",")
        return _record_sections(name, rows, rule)
    if suffix == ".jsonl":
        return _record_sections(name, _json_lines(name, text), rule)
    reader: Callable[[str], Iterator[tuple[str, str]]] = (
        _html_blocks if suffix in {".html", ".htm"} else _markdown_blocks
    )
    return _headed_sections(path.stem, reader(text))


def _json_lines(name: str, text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{name}, line {number}: not JSON ({error.msg})") from error


def _record_sections(name: str, rows: Any, rule: TableRule | None) -> list[Section]:
    sections: list[Section] = []
    seen: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        try:
            title, text = _row_as_text(row, rule)
        except KeyError as error:
            raise ConfigError(f"{name}, row {number}: no column {error}, which dataset.yaml names") from error
        # Two records of one name stay two; adding other rows must not change a record's anchor.
        sections.append(Section(title, text, anchor=f"{title}#{seen[title]}"))
        seen[title] += 1
    return sections


def _row_as_text(row: dict[str, Any], rule: TableRule | None) -> tuple[str, str]:
    if rule is None:
        title = str(next(iter(row.values()), ""))
        return title, " ".join(
            f"The {key.replace('_', ' ')} of {title} is {value}." for key, value in row.items() if value
        )
    return rule.title.format_map(row), " ".join(_sentence(row, sentence) for sentence in rule.sentences)


def _sentence(row: dict[str, Any], rule: SentenceRule) -> str:
    is_said = not rule.column or str(row[rule.column]) == rule.equals
    return (rule.say if is_said else rule.otherwise).format_map(row)


def _headed_sections(stem: str, blocks: Iterator[tuple[str, str]]) -> list[Section]:
    """Gather (kind, text) blocks under their headings; the first heading names the document."""
    document, heading = stem.replace("-", " ").capitalize(), ""
    gathered: dict[str, list[str]] = {}
    for kind, text in blocks:
        if kind == "title":
            document = text
        elif kind == "heading":
            heading = text
        else:
            gathered.setdefault(heading, []).append(text)
    return [
        Section(f"{document}: {head}" if head else document, " ".join(texts), anchor=head)
        for head, texts in gathered.items()
    ]


def _markdown_blocks(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        plain = _MARKDOWN_NOISE.sub(r"\1", line).strip()
        if plain.startswith("# "):
            yield "title", plain[2:].strip()
        elif plain.startswith("##"):
            yield "heading", plain.lstrip("# ")
        elif plain:
            yield "text", re.sub(r"^(?:[-*+]|\d+\.)\s+", "", plain)


class _HtmlBlocks(HTMLParser):
    """Collects headings and text blocks; what is in scripts, styles, navigation and footers is left out."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[tuple[str, str]] = []
        self._words: list[str] = []
        self._skip_depth = 0
        self._kind = "text"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in _SKIPPED_TAGS:
            self._skip_depth += 1
        elif tag in _BLOCK_TAGS:
            self.end_block()
            self._kind = {"h1": "title"}.get(tag, "heading" if tag in _HEADING_TAGS else "text")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIPPED_TAGS:
            self._skip_depth = max(0, self._skip_depth - 1)
        elif tag in _BLOCK_TAGS:
            self.end_block()
            self._kind = "text"

    def handle_data(self, data: str) -> None:
        if not self._skip_depth:
            self._words += data.split()

    def end_block(self) -> None:
        if self._words:
            self.blocks.append((self._kind, " ".join(self._words)))
        self._words = []


def _html_blocks(text: str) -> Iterator[tuple[str, str]]:
    parser = _HtmlBlocks()
    parser.feed(text)
    parser.close()
    parser.end_block()
    yield from parser.blocks
