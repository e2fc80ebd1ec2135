"""The caller's words and the data's words meet."""

from __future__ import annotations

import pytest

from pipelines.language.en.terms import content_words, coverage

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("returned items", "return an item"),
        ("What's the price?", "It costs."),
        ("policies", "policy"),
        ("How heavy is it?", "It weighs"),
        ("sixty five", "65"),
        ("colors", "colour"),
    ],
)
def test_wordings_of_one_meaning_give_the_same_terms(one: str, other: str) -> None:
    assert content_words(one) == content_words(other)


def test_glue_words_carry_no_meaning() -> None:
    assert content_words("Could you please tell me what this is?") == []


def test_coverage_is_the_share_of_the_questions_words() -> None:
    assert coverage("tent warranty", "The warranty covers the tent.") == 1.0
    assert coverage("tent warranty", "A tent.") == 0.5
    assert coverage("what is it?", "A tent.") == 0.0
