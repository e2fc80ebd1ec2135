"""The documentation says what the code does: generated parts are current, links resolve, named commands exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel

from cluster.cli import COMMANDS, app
from cluster.config.agents import AgentFile
from pipelines.session.transitions import mermaid

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
ADR_FOLDER = ROOT / "docs" / "adr"
PAGES = sorted([README, ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").rglob("*.md")])

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_ADR_NAME = re.compile(r"(\d{4})-[a-z0-9-]+\.md")


def keys_of(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the keys of a section and of those below it, with dots."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_key_of_an_agents_file_is_described() -> None:
    page = text_of(ROOT / "docs" / "agents.md")
    missing = [key for key in keys_of(AgentFile) if f"`{key}`" not in page]
    assert missing == []


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def between(text: str, name: str) -> str:
    """Return what stands between the markers of `name`, which must be there once."""
    parts = re.findall(rf"<!-- {name}:begin -->\n(.*?)\n<!-- {name}:end -->", text, re.DOTALL)
    assert len(parts) == 1, f"{len(parts)} parts are marked {name}"
    return str(parts[0])


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    """Yield the relative links of a page that lead nowhere."""
    for target in _LINK.findall(_FENCE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(text_of(path))):
            yield f"{page.relative_to(ROOT)}: {target}"


def commands_in(text: str) -> set[tuple[str, ...]]:
    """Return the `voxray` commands that a page names, with their sub-commands where it names these."""
    found = re.findall(r"`(?:\.venv/bin/)?voxray ((?:[a-z][a-z0-9-]* ?)+)", text)
    return {tuple(words.split()) for words in found}


def targets_in(text: str) -> set[str]:
    """Return the `make` targets that a page names, in code only."""
    code = "\n".join(re.findall(r"`+[^`]+`+", text))
    return set(re.findall(r"\bmake ([a-z]+)", code))


def is_command(words: tuple[str, ...]) -> bool:
    """Whether `voxray WORDS` is a command; words after a command without sub-commands are its arguments."""
    if words[0] not in COMMANDS:
        return False
    command = typer.main.get_command(app).get_command(None, words[0])  # type: ignore[attr-defined]  # a group
    subcommands = getattr(command, "commands", None)
    return subcommands is None or len(words) == 1 or words[1] in subcommands


def test_architecture_shows_the_transition_table_as_it_is() -> None:
    assert between(text_of(ARCHITECTURE), "transitions") == mermaid()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    assert not list(broken_links(page))


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](page.md#one-two) [b](#three) [c](gone.md) [d](https://example.com)\n", "utf-8")
    assert list(broken_links(page)) == ["page.md: #three", "page.md: gone.md"]


def test_decisions_are_numbered_without_gap_and_all_in_the_index() -> None:
    names = sorted(path.name for path in ADR_FOLDER.glob("*.md") if path.name != "README.md")
    numbers = [int(match[1]) for name in names if (match := _ADR_NAME.fullmatch(name))]
    assert numbers == list(range(1, len(names) + 1))
    listed = [target for target in _LINK.findall(text_of(ADR_FOLDER / "README.md")) if _ADR_NAME.fullmatch(target)]
    assert listed == names


def test_readme_names_only_make_targets_that_exist() -> None:
    known = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = targets_in(text_of(README))
    assert {"call", "test"} <= named <= known


def test_readme_names_every_command_and_no_other() -> None:
    named = commands_in(text_of(README))
    assert {words[0] for words in named} == set(COMMANDS)
    assert not [words for words in named if not is_command(words)]


def test_a_command_that_does_not_exist_is_found() -> None:
    named = commands_in("`voxray fly` and `voxray models burn NAME`, `voxray up`")
    assert sorted(words for words in named if not is_command(words)) == [("fly",), ("models", "burn")]


def test_readme_snippets_are_python() -> None:
    snippets = re.findall(r"^```python\n(.*?)^```", text_of(README), re.MULTILINE | re.DOTALL)
    assert snippets
    for snippet in snippets:
        ast.parse(snippet)


def headwords(text: str) -> list[str]:
    """Return the words that a glossary explains, in its order."""
    return [word for word in re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE) if word not in ("word", "---")]


def test_glossary_explains_each_word_once() -> None:
    words = [word.lower() for word in headwords(text_of(ROOT / "docs" / "glossary.md"))]
    assert len(words) > 100
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_readme_keeps_its_place_for_results() -> None:
    assert between(text_of(README), "bench")
