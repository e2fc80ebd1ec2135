"""Reading what a caller asks."""

from __future__ import annotations

import pytest

from pipelines.language.en.questions import (
    Courtesy,
    FactKind,
    courtesy,
    fact_kind,
    holds_fact,
    identifiers,
    normalise_question,
    with_context,
)
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


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Hello there!", Courtesy.GREETING),
        ("Thanks a lot", Courtesy.THANKS),
        ("okay thank you bye", Courtesy.GOODBYE),
        ("hi, where is the Boulder store?", None),
        ("", None),
        ("all good", None),
    ],
)
def test_small_talk_is_recognised_only_when_nothing_else_is_said(said: str, kind: Courtesy | None) -> None:
    assert courtesy(said) is kind


def test_follow_up_is_searched_with_the_previous_question() -> None:
    history = [ChatMessage("user", "How much is the Larkspur tent?"), ChatMessage("assistant", "It costs $249.")]
    assert with_context("And how heavy is it?", history) == "How much is the Larkspur tent? And how heavy is it?"
    assert with_context("Where is the Boulder store?", history) == "Where is the Boulder store?"
    assert with_context("And how heavy is it?", []) == "And how heavy is it?"


@pytest.mark.parametrize(
    ("question", "kind", "fact"),
    [
        ("What's the price of the tent?", FactKind.MONEY, "It costs $249."),
        ("How heavy is it?", FactKind.WEIGHT, "It weighs 1.9 kilograms."),
        ("What time do you close?", FactKind.CLOCK, "We close at 8 p.m. today."),
        ("How long is the warranty?", FactKind.TIME, "It has a five year warranty."),
        ("How many people fit?", FactKind.COUNT, "It sleeps six people."),
        ("Where is the store?", FactKind.PLACE, "It is at 418 Alder Street."),
    ],
)
def test_form_of_the_question_tells_the_kind_of_fact(question: str, kind: FactKind, fact: str) -> None:
    assert fact_kind(question) is kind
    assert holds_fact(kind, fact)
    assert not holds_fact(kind, "It is made of wool.")
