"""A corpus of invented help articles, as many as wanted: what the figures of docs/ingest.md are measured on."""

from __future__ import annotations

import random
from pathlib import Path

_THINGS = ["tent", "stove", "boot", "jacket", "pack", "lamp", "rope", "filter", "bag", "map"]
_WORDS = ["order", "return", "repair", "warranty", "delivery", "exchange", "colour", "size", "store", "price", "season"]
_SENTENCES = [
    "The {thing} of series {number} costs {price} dollars in every store.",
    "A {thing} may be returned within {days} days when its {word} has not been used.",
    "For a {word} of the {thing} the workshop in building {room} needs about {days} days.",
    "Members of the trail club pay {price} dollars less for the {thing} and its {word}.",
    "The {word} of series {number} is listed under code {code} in the catalogue.",
    "We ship the {thing} from store {room}, and the {word} follows after {days} days.",
]


def article(number: int, seed: int = 0, sections: int = 2, length: int = 4) -> str:
    """Return article `number` as Markdown; another seed gives another text."""
    source = random.Random(number * 1_000_003 + seed)
    lines = [f"# Article {number} about the {source.choice(_THINGS)}"]
    for section in range(sections):
        lines.append(f"\n## {source.choice(_WORDS).capitalize()} {section}\n")
        lines.append(" ".join(_sentence(source) for _ in range(length)))
    return "\n".join(lines) + "\n"


def article_path(folder: Path, number: int) -> Path:
    """Return where an article lies: a thousand a sub-folder."""
    return folder / f"{number // 1000:03}" / f"article{number:06}.md"


def write_corpus(folder: Path, count: int, seed: int = 0, sections: int = 2, length: int = 4) -> None:
    """Write `count` articles into a folder."""
    for number in range(count):
        path = article_path(folder, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(article(number, seed, sections, length))


def _sentence(source: random.Random) -> str:
    return source.choice(_SENTENCES).format(
        thing=source.choice(_THINGS),
        word=source.choice(_WORDS),
        number=source.randint(100, 9999),
        price=source.randint(5, 900),
        days=source.randint(2, 60),
        room=source.randint(1, 40),
        code=f"FH-{source.randint(1000, 99999)}",
    )
