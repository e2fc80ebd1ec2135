"""Which passages say the same. A caller needs a fact once, and places in the list are few."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipelines.language.en.terms import content_words, raw_words
from pipelines.ports import Passage

MIN_OVERLAP = 0.9
_NEGATIONS = frozenset("no not never none nor without cannot except unless only".split())
_NAME = re.compile(r"\b[A-Z][A-Za-z]+")


@dataclass(frozen=True, slots=True)
class _Content:
    """What a passage says: its content words, and the words in which no difference is small."""

    words: frozenset[str]
    facts: frozenset[str]


def first_distinct(passages: Iterable[Passage], wanted: int) -> tuple[list[Passage], int]:
    """Return the first `wanted` passages that do not repeat an earlier one, and how many were left out on the way.

    Takes no more of `passages` than it needs. Of passages that say the same the first keeps its place and scores; the
    newest gives text, source and date, since that is what a citation should name.
    """
    kept: list[Passage] = []
    contents: list[_Content] = []
    left_out = 0
    for passage in passages:
        content = _content(passage)
        place = next((i for i, earlier in enumerate(contents) if _is_same(earlier, content)), None)
        if place is None:
            kept.append(passage)
            contents.append(content)
            if len(kept) == wanted:
                break
            continue
        left_out += 1
        first = kept[place]
        if passage.updated_at > first.updated_at:
            kept[place] = replace(passage, score=first.score, stages=first.stages)
    return kept, left_out


def is_duplicate(one: Passage, other: Passage) -> bool:
    """Say whether two passages say the same: nearly all words shared, and no number, name or negation differs.

    Records of one table differ in nothing but their facts ("order 1042 has shipped", "order 1043 has shipped"): overlap
    alone would take them for the same.
    """
    return _is_same(_content(one), _content(other))


def _is_same(one: _Content, other: _Content) -> bool:
    if one.facts != other.facts:
        return False
    return len(one.words & other.words) >= MIN_OVERLAP * len(one.words | other.words)


def _content(passage: Passage) -> _Content:
    whole = f"{passage.title}. {passage.text}"
    words = raw_words(whole)
    numbers = {word for word in words if word[0].isdigit()}
    names = {name.lower() for name in _NAME.findall(whole)}
    return _Content(frozenset(content_words(whole)), frozenset(numbers | (_NEGATIONS & set(words)) | names))
