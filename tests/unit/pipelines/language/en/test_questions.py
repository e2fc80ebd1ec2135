"""Reading what a caller asks."""

from __future__ import annotations

import pytest

from pipelines.language.en.questions import identifiers, normalise_question, with_context
from pipelines.ports import ChatMessage

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "spoken",
    ["order FH-1042", "order F H 1042", "order f h ten forty two", "order F. H. 1042", "order 1042", "order 10 42"],
)
def test_spoken_order_codes_name_the_same_order(spoken: str) -> None:
    assert identifiers(normalise_question(f"Where is my {spoken}?")) == {"1042"}


@pytest.mark.parametrize(
    "question", ["Is shipping free over $75?", "Do you have anything for 200 dollars?", "45 days?"]
)
def test_amounts_are_no_codes(question: str) -> None:
    assert identifiers(normalise_question(question)) == frozenset()


def test_follow_up_is_searched_with_the_previous_question() -> None:
    history = [ChatMessage("user", "How much is the Larkspur tent?"), ChatMessage("assistant", "It costs $249.")]
    assert with_context("And how heavy is it?", history) == "How much is the Larkspur tent? And how heavy is it?"
    assert with_context("Where is the Boulder store?", history) == "Where is the Boulder store?"
    assert with_context("And how heavy is it?", []) == "And how heavy is it?"


@pytest.mark.parametrize(
    "spoken", ["invoice 10 42", "ticket number 10 42", "booking no. 10-42", "case #10 42", "my number 10 42"]
)
def test_a_code_said_in_parts_is_joined_after_whatever_has_codes(spoken: str) -> None:
    assert identifiers(normalise_question(f"What about {spoken}?")) == {"1042"}
