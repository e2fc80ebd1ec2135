"""Turns prose into sections, one for each heading. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from ingest_jobs.knowledge.read.documents import Section

Block = tuple[str, str]
"""Kind ("title", "heading" or "text") and text."""

_MARKDOWN_NOISE = re.compile(r"[*_`]{1,3}|!?\[([^\]]*)\]\([^)]*\)")
_TABLE_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")
_SKIPPED_TAGS = frozenset({"script", "style", "nav", "footer", "head", "template"})
_HEADING_TAGS = frozenset({"h1", "h2", "h3", "h4"})
_BLOCK_TAGS = frozenset({"p", "li", "td", "th", "tr", "div", "section", "br", "dd", "dt"}) | _HEADING_TAGS


def headed_sections(stem: str, blocks: Iterator[Block]) -> list[Section]:
    """Collect (kind, text) blocks under their headings. The first heading names the document."""
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


def markdown_blocks(text: str) -> Iterator[Block]:
    """Yield headings and lines. A table row is given with the names of its columns, so that it is self-contained."""
    columns: list[str] = []
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if _TABLE_RULE.fullmatch(line):
            continue
        if line.lstrip().startswith("|"):
            cells = [_MARKDOWN_NOISE.sub(r"\1", cell).strip() for cell in line.strip().strip("|").split("|")]
            if not columns and _TABLE_RULE.fullmatch(following):
                columns = cells
            else:
                pairs = zip(columns or [""] * len(cells), cells, strict=False)
                yield "text", ", ".join(f"{name} {cell}".strip() for name, cell in pairs if cell) + "."
            continue
        columns = []
        plain = _MARKDOWN_NOISE.sub(r"\1", line).strip()
        if plain.startswith("# "):
            yield "title", plain[2:].strip()
        elif plain.startswith("##"):
            yield "heading", plain.lstrip("# ")
        elif plain:
            yield "text", re.sub(r"^(?:[-*+]|\d+\.)\s+", "", plain)


class _HtmlBlocks(HTMLParser):
    """Collects headings and text blocks, leaving out scripts, styles, navigation and footers."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
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


def html_blocks(text: str) -> Iterator[Block]:
    """Yield headings and text blocks of a page, without scripts, styles, navigation and footers."""
    parser = _HtmlBlocks()
    parser.feed(text)
    parser.close()
    parser.end_block()
    yield from parser.blocks
