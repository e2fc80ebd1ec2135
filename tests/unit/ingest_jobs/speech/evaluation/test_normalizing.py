from __future__ import annotations

import pytest

from ingest_jobs.speech.evaluation.normalizing import scored_words

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("where is order f h ten forty two", "Where is order FH-1042?"),
        ("one oh four two", "1042"),
        ("four one five oh", "4150."),
        ("two hundred and forty nine dollars", "$249"),
        ("six ninety five", "$6.95"),
        ("two thirty p m", "2:30 p.m."),
        ("november twenty first", "November 21st."),
        ("we close at ten o'clock", "We close at 10:00."),
        ("one thousand forty two people", "1,042 people"),
        ("fifteen percent", "15%"),
        ("that's all okay", "That’s all, OK."),
        ("u p s", "UPS"),
        ("which colors", "Which colours?"),
        ("um where is it", "Where is it?"),
    ],
)
def test_two_ways_of_writing_what_was_said_are_the_same(spoken: str, written: str) -> None:
    assert scored_words(spoken) == scored_words(written)


def test_digits_are_words_of_their_own() -> None:
    assert scored_words("order 1042") == ["order", "1", "0", "4", "2"]


def test_another_number_and_another_word_stay_different() -> None:
    assert scored_words("fifteen days") != scored_words("50 days")
    assert scored_words("the tent") != scored_words("a tent")


def test_nothing_has_no_words() -> None:
    assert scored_words("") == scored_words(" ... ") == []
