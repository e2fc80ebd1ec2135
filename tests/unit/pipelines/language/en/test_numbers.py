"""Spoken numbers meet written ones."""

from __future__ import annotations

import pytest

from pipelines.language.en.numbers import digits_for_words

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("thirty days", "30 days"),
        ("twenty-five percent", "25 percent"),
        ("two hundred and forty nine dollars", "249 dollars"),
        ("one thousand forty two", "1042"),
        ("order ten forty two", "order 1042"),
        ("order one oh four two", "order 1042"),
        ("three to five days", "3 to 5 days"),
        ("thirty and forty", "30 and 40"),
        ("minus eighteen degrees", "minus 18 degrees"),
        ("zero", "0"),
        ("order 1,000 46.", "order 1046."),
        ("order FH-1000-13", "order FH-1013"),
        ("1,000 items and 46 more", "1,000 items and 46 more"),
    ],
)
def test_number_words_become_digits(spoken: str, written: str) -> None:
    assert digits_for_words(spoken) == written


def test_lone_one_stays_a_pronoun_unless_a_measure_follows() -> None:
    assert digits_for_words("this one lasts one day") == "this one lasts 1 day"


@pytest.mark.parametrize("text", ["", "no numbers here", "a tent; 5 years, $6.95!", "Oh, hundreds of them"])
def test_text_without_number_words_is_unchanged(text: str) -> None:
    assert digits_for_words(text) == text
