"""Interprets a caller's question: spoken codes, and follow-ups that depend on the previous question."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.language.en.numbers import digits_for_words
from pipelines.language.en.terms import content_words
from pipelines.language.en.units import DURATIONS, LENGTHS, MONEY, PERSONS, SHARES, TEMPERATURES, WEIGHTS
from pipelines.ports import ChatMessage

# Things that people refer to by a number.
CODED = (
    "account", "article", "booking", "case", "claim", "contract", "invoice", "item", "order", "part", "policy",
    "reference", "reservation", "ticket",
)  # fmt: skip

_SPELLED = re.compile(r"\b((?:[A-Za-z][ .-]+){1,3}[A-Za-z]?)(?=\d{3,}\b)")
_CODE_IN_PARTS = re.compile(
    rf"\b({'|'.join(CODED)}) (?:number |no\.? |#)?(\d{{1,2}})[ -](\d{{2}})\b|\b(number) (\d{{1,2}})[ -](\d{{2}})\b",
    re.IGNORECASE,
)
_MEASURES = MONEY | SHARES | LENGTHS | PERSONS | WEIGHTS | DURATIONS | TEMPERATURES
_IDENTIFIER = re.compile(rf"(?<![\d$.,])\d{{3,}}(?![\d.,]*\d)(?!\s*(?:{'|'.join(sorted(_MEASURES))})s?\b)")
_FOLLOW_UP = re.compile(
    r"\b(?:it|its|that|those|they|them|this one|that one)\b|^(?:and|what about|how about)\b", re.IGNORECASE
)
_FOLLOW_UP_MAX_WORDS = 2


def normalise_question(text: str) -> str:
    """Rewrite spoken numbers and codes as data has them: "n w ten forty two" and "NW-1042" become "NW 1042"."""
    digits = digits_for_words(" ".join(text.split()))
    joined = _CODE_IN_PARTS.sub(_joined, digits)
    return _SPELLED.sub(lambda m: f"{re.sub(r'[ .-]', '', m[1]).upper()} ", joined)


def identifiers(question: str) -> frozenset[str]:
    """Return the codes (order and article numbers) in a normalised question. Its answer must contain them too."""
    return frozenset(_IDENTIFIER.findall(question))


def with_context(question: str, history: Sequence[ChatMessage]) -> str:
    """Return the question to search for.

    A follow-up ("and how heavy is it?") is prefixed with the previous question.
    """
    is_follow_up = bool(_FOLLOW_UP.search(question)) and len(content_words(question)) <= _FOLLOW_UP_MAX_WORDS
    previous = next((m.content for m in reversed(history) if m.role == "user"), "")
    return f"{normalise_question(previous)} {question}" if is_follow_up and previous else question


def _joined(found: re.Match[str]) -> str:
    """Return "order 10 42" as "order 1042"."""
    what, first, second = (group for group in found.groups() if group)
    return f"{what} {first}{second}"
