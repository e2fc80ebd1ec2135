"""Judges an answer against expected facts as right, wrong or refused.

The code is pure, so every run is judged alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError
from pipelines.language.en.numbers import digits_for_words

UNANSWERABLE = "unanswerable"
_REFUSAL = re.compile(
    r"don't have that|do not have that|can't reach our records|cannot reach our records|don't know|do not know"
)
_UNITS = (
    (re.compile(r"\$\s?(\d[\d.,]*\d|\d)"), r"\1 dollars"),
    (re.compile(r"(?<=\d)\s?%"), " percent"),
    (re.compile(r"\b([ap])\.\s?m\b\.?"), r"\1m"),
    (re.compile(r"(?<=\d),(?=\d{3}\b)"), ""),
    (re.compile(r"\bkilograms?\b|\bkilos?\b"), "kg"),
)


class Verdict(StrEnum):
    """How an answer counts.

    Refusing is right when the data has no answer; otherwise it is a miss but not a falsehood.
    """

    RIGHT = "right"
    WRONG = "wrong"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class EvalQuestion:
    """One question with what a right answer must contain.

    Attributes:
        expected: every fact must be present; each is a tuple of accepted wordings.
        contradictions: none of these may be present.
    """

    id: str
    kind: str
    question: str
    expected: tuple[tuple[str, ...], ...]
    contradictions: tuple[str, ...] = field(default=())


def judge(question: EvalQuestion, answer: str) -> Verdict:
    """Judge one answer.

    Numbers and units are first brought to one form ("thirty days", "30 days"; "$5", "5 dollars").
    """
    said = comparable(answer)
    if _REFUSAL.search(answer.lower().replace("\u2019", "'")):
        return Verdict.RIGHT if question.kind == UNANSWERABLE else Verdict.REFUSED
    if question.kind == UNANSWERABLE:
        return Verdict.WRONG
    has_all = all(any(_says(said, wording) for wording in fact) for fact in question.expected)
    return Verdict.RIGHT if has_all and not any(_says(said, c) for c in question.contradictions) else Verdict.WRONG


def comparable(text: str) -> str:
    """Return text in the canonical form used to compare answers with expectations."""
    lowered = digits_for_words(text.replace("\u2019", "'")).lower()
    for pattern, form in _UNITS:
        lowered = pattern.sub(form, lowered)
    return re.sub(r"[^a-z0-9.'-]+", " ", lowered).strip()


def _says(said: str, wording: str) -> bool:
    """Return whether the whole words occur: "within 30 days." contains "30 days", but "1 8 0" does not contain "18"."""
    wanted = re.escape(comparable(wording).rstrip("."))
    return bool(re.search(rf"(?<![a-z0-9.-]){wanted}s?(?![a-z0-9]|\.\d)", said))


def load_questions(path: Path) -> list[EvalQuestion]:
    """Read a JSON Lines file of questions.

    Raises:
        ConfigError: the file is missing or a line is not a question; the message names file and line.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file of questions")
    return list(_parse_lines(path.read_text("utf-8").splitlines(), path.name))


def _parse_lines(lines: Iterable[str], name: str) -> Iterable[EvalQuestion]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield _parse(json.loads(line))
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise ConfigError(f"{name}, line {number}: not a question ({error})") from error


def _parse(row: dict[str, Any]) -> EvalQuestion:
    return EvalQuestion(
        id=str(row["id"]),
        kind=str(row["kind"]),
        question=str(row["question"]),
        expected=tuple(tuple(map(str, fact)) for fact in row["expected"]),
        contradictions=tuple(map(str, row.get("contradictions", ()))),
    )
