"""What kind of fact a question asks for, and whether a sentence holds one."""

from __future__ import annotations

import re
from enum import Enum

from pipelines.language.en.calendar import MONTHS
from pipelines.language.en.numbers import digits_for_words
from pipelines.language.en.terms import raw_words
from pipelines.language.en.units import DURATIONS, MONEY, SHARES, WEIGHTS


class FactKind(Enum):
    """What the answer should contain, as far as the form of the question tells."""

    MONEY = "money"
    WEIGHT = "weight"
    CLOCK = "clock"
    TIME = "time"
    COUNT = "count"
    PLACE = "place"
    ANY = "any"


# The first match wins, so "how much time" and "what time" stand before "how much".
_KIND_OF_QUESTION = (
    (re.compile(r"\bhow much time\b"), FactKind.TIME),
    (re.compile(r"\bwhat time\b|\bhours\b|\bopen(?:ing)?\b|\bclos(?:e|ed|ing)\b"), FactKind.CLOCK),
    (re.compile(r"\bhow heavy\b|\bweigh(?:s|t)?\b"), FactKind.WEIGHT),
    (
        re.compile(r"\b(?:how much|price|costs?|charge|fee|spend|what did i pay|take off|discount|money off)\b"),
        FactKind.MONEY,
    ),
    (re.compile(r"\bhow (?:long|fast|soon|quick(?:ly)?|old|often)\b|\bwhen\b"), FactKind.TIME),
    (re.compile(r"\bhow many\b|\bwhat (?:share|percentage)\b|\bhow big\b"), FactKind.COUNT),
    (re.compile(r"\bwhere\b|\baddress\b"), FactKind.PLACE),
)


def _any_of(units: frozenset[str]) -> str:
    return f"(?:{'|'.join(sorted(units, key=len, reverse=True))})s?"


_FACT_OF_KIND = {
    FactKind.MONEY: re.compile(rf"\$\s?\d|\d\s*(?:{_any_of(MONEY | SHARES)}\b|%)|\bfree\b"),
    FactKind.WEIGHT: re.compile(rf"\d\s*{_any_of(WEIGHTS)}\b"),
    FactKind.CLOCK: re.compile(r"\d\s*[ap]\.?m\b|\bnoon\b|\bmidnight\b|\bclosed?\b|\bopen\b"),
    FactKind.TIME: re.compile(
        rf"\d\s*(?:business\s)?{_any_of(DURATIONS)}\b|\blifetime\b|\bnever\b|\b(?:{'|'.join(MONTHS)}) \d"
    ),
    FactKind.COUNT: re.compile(r"\d"),
    FactKind.PLACE: re.compile(r"\b(?:at \d|(?:in|from) [A-Z])"),
}


def fact_kind(question: str) -> FactKind:
    """Return the kind of fact the question asks for, judged by its form."""
    lowered = " ".join(raw_words(question))
    return next((kind for pattern, kind in _KIND_OF_QUESTION if pattern.search(lowered)), FactKind.ANY)


def holds_fact(kind: FactKind, sentence: str) -> bool:
    """Return whether a sentence contains a fact of this kind. Every sentence does for `FactKind.ANY`."""
    if kind is FactKind.ANY:
        return True
    text = digits_for_words(sentence)
    return bool(_FACT_OF_KIND[kind].search(text if kind is FactKind.PLACE else text.lower()))
