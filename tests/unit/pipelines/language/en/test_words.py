"""The lists of words fit the code that reads them: what can never be matched is no use in a list."""

from __future__ import annotations

import re

import pytest

from pipelines.language.en import calendar, units
from pipelines.language.en.assertions import LIMITS, NEGATION, NEGATIVE_OPENERS, OPENER
from pipelines.language.en.prompting import ANSWER_EXAMPLES, fact_and_question
from pipelines.language.en.terms import content_words, raw_words, stem
from pipelines.language.en.words import QUESTION_WORDS, STOP_WORDS, SYNONYMS

pytestmark = pytest.mark.unit


def test_a_synonym_is_reached_from_both_sides() -> None:
    for word, meaning in SYNONYMS.items():
        assert content_words(word) == [meaning], word
        assert word not in STOP_WORDS
        # What it becomes must not become something else again.
        assert meaning not in SYNONYMS


def test_words_of_the_lists_are_words_as_they_are_read() -> None:
    lists = {*STOP_WORDS, *LIMITS, *NEGATIVE_OPENERS, *calendar.MONTHS, *calendar.WEEKDAYS, *calendar.TIME_ZONES}
    assert all(raw_words(word) == [word] for word in lists)
    assert all(word.lower() == word for word in QUESTION_WORDS)


def test_units_are_in_the_singular_and_belong_to_one_measure_or_two() -> None:
    classes = [units.DURATIONS, units.WEIGHTS, units.LENGTHS, units.VOLUMES, units.TEMPERATURES, units.SHARES]
    for unit in units.UNITS - units.CLOCK:
        assert sum(unit in measure for measure in classes) <= 1, unit
        assert not unit.endswith("s") or stem(unit) == unit or unit in {"inches"}, unit
    assert {"pound"} == units.MONEY & units.WEIGHTS
    assert len(calendar.MONTHS) == 12
    assert len(calendar.WEEKDAYS) == 7


@pytest.mark.parametrize(
    ("sentence", "is_negative"),
    [
        ("We don\u2019t ship to Europe.", True),
        ("The lamp is out of stock.", True),
        ("The lift is out of service.", True),
        ("The show is sold out.", True),
        ("It comes out of the box ready.", False),
        ("Notice the knot.", False),
    ],
)
def test_denials_are_told_from_words_that_look_like_them(sentence: str, is_negative: bool) -> None:
    assert bool(NEGATION.search(sentence)) is is_negative


def test_openers_are_found_in_front_only() -> None:
    found = OPENER.match("Unfortunately, we are closed.")
    assert found is not None
    assert found[1].lower() in NEGATIVE_OPENERS
    assert OPENER.match("We say yes.") is None


def test_examples_answer_from_their_fact() -> None:
    for fact, question, answer in ANSWER_EXAMPLES:
        body = OPENER.sub("", answer)
        assert set(content_words(body)) <= set(content_words(fact)) | set(content_words(question))
        assert re.fullmatch(r"Fact: .+\nQuestion: .+\?", fact_and_question(fact, question))
