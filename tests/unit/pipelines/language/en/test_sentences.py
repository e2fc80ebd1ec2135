from __future__ import annotations

import pytest

from pipelines.language.en.sentences import sentences

pytestmark = pytest.mark.unit


def test_sentence_ends_are_told_from_abbreviations_and_decimals() -> None:
    text = "We open at 9 a.m. Eastern time. It costs $5.50. Ask Dr. Reed."
    assert sentences(text) == ["We open at 9 a.m. Eastern time.", "It costs $5.50.", "Ask Dr. Reed."]


@pytest.mark.parametrize("tail", ["Monday to Friday.", "Saturdays only.", "Mountain time.", "CET.", "December 24."])
def test_a_time_of_day_goes_on_with_day_date_or_zone(tail: str) -> None:
    assert sentences(f"Lines open at 9 a.m. {tail} Call us.") == [f"Lines open at 9 a.m. {tail}", "Call us."]


def test_a_time_of_day_may_end_a_sentence() -> None:
    assert sentences("We close at 9 p.m. Call us.") == ["We close at 9 p.m.", "Call us."]
