from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_jobs.speech.corpus.spoken_form import clock_time, digit_by_digit, in_pairs, ordinal, spoken

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Standard shipping takes 3 to 5 business days.", {"standard shipping takes three to five business days"}),
        ("It holds 65 litres & fits a USB cable.", {"it holds sixty five litres and fits a u s b cable"}),
        ("Tracking starts on October 28", {"tracking starts on october twenty eighth"}),
        ("placed before 2 p.m. Eastern time", {"placed before two p m eastern time"}),
        ("1.9 kilograms", {"one point nine kilograms"}),
        ("the 21st", {"the twenty first"}),
        (
            "costs $6.95",
            {"costs six ninety five", "costs six dollars and ninety five cents", "costs six dollars ninety five"},
        ),
        ("FH-1042", {"f h ten forty two", "f h one zero four two", "f h one oh four two",
                     "f h one thousand and forty two", "f h one thousand forty two"}),
    ],
)  # fmt: skip
def test_writing_is_read_as_a_person_would(written: str, said: set[str]) -> None:
    assert {spoken(written, random.Random(seed)) for seed in range(40)} == said


@given(st.text(max_size=80), st.integers(0, 99))
def test_spoken_form_holds_letters_and_apostrophes_only(text: str, seed: int) -> None:
    said = spoken(text, random.Random(seed))
    assert re.fullmatch(r"(?:[a-z']+(?: [a-z']+)*)?", said)
    assert not said.startswith("'")


def test_digits_are_read_one_by_one_and_in_pairs() -> None:
    assert digit_by_digit("1042", "oh") == "one oh four two"
    assert in_pairs("1042") == "ten forty two"
    assert in_pairs("1405") == "fourteen oh five"
    assert in_pairs("500") == "five hundred"
    assert clock_time(2, 5) == "two oh five"
    assert ordinal(21) == "twenty first"
