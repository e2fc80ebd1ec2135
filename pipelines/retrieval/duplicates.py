"""Finds passages that say the same, since a caller needs a fact only once and the list of results is short."""

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
    """The content words of a passage, and those of them for which even a small difference matters."""

    words: frozenset[str]
    facts: frozenset[str]


def first_distinct(passages: Iterable[Passage], wanted: int) -> tuple[list[Passage], int]:
    """Return the first `wanted` passages that do not repeat an earlier one, and how many were dropped on the way.

    Consumes no more of `passages` than it needs. Among passages that say the same, the first supplies the place and the
    scores, and the newest supplies text, source and date, since a citation should name that one.
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
    """Return whether two passages say the same: they share nearly all words and no number, name or negation differs.

    Records of one table differ only in their facts ("order 1042 has shipped", "order 1043 has shipped"), so overlap
    alone would mistake them for duplicates.
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
