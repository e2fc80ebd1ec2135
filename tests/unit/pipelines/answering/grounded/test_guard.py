"""Generated words that the passage does not bear out are not spoken."""

from __future__ import annotations

import pytest

from pipelines.answering.grounded.guard import quantities, rejection

pytestmark = pytest.mark.unit

SHIPPING = (
    "Standard shipping costs $6.95.",
    "Express shipping costs $14.50.",
    "Express shipping takes 2 business days.",
)
EUROPE = ("We do not ship to Europe.", "We deliver to Canada and Mexico.")


def verdict(clause: str, question: str, ranked: tuple[str, ...], title: str = "Shipping") -> str:
    return rejection(clause, question, title, ranked)


@pytest.mark.parametrize(
    "clause",
    [
        "Standard shipping costs $6.95.",
        "Standard shipping is 6.95 dollars.",
        " Shipping costs $6.95",
        "Shipping is $6.95.",
    ],
)
def test_restated_fact_passes(clause: str) -> None:
    assert verdict(clause, "How much is standard shipping?", SHIPPING) == ""


@pytest.mark.parametrize(
    ("clause", "reason"),
    [
        ("Standard shipping costs $7.95.", "number"),
        ("Standard shipping costs 6.95 percent.", "number"),
        ("Express shipping costs $14.50.", "other fact"),
        ("Standard shipping by express costs $6.95.", "mixed facts"),
        ("Standard shipping costs $6.95 and includes insurance.", "invented"),
        ("Standard shipping does not cost $6.95.", "negation"),
        ("No, standard shipping costs $6.95.", "polarity"),
        ("Well, it is.", "empty"),
    ],
)
def test_clause_against_the_fact_is_rejected(clause: str, reason: str) -> None:
    assert verdict(clause, "How much is standard shipping?", SHIPPING) == reason


def test_yes_is_rejected_where_the_passage_denies() -> None:
    assert verdict("Yes, we ship to Europe.", "Do you ship to Europe?", EUROPE) == "polarity"
    assert verdict("We ship to Europe.", "Do you ship to Europe?", EUROPE) == "negation"
    assert verdict("No, we do not ship to Europe.", "Do you ship to Europe?", EUROPE) == ""


def test_name_from_the_question_alone_is_rejected() -> None:
    ranked = ("The bike repair evening costs $20.",)
    assert (
        rejection("The Thunderbolt bike repair costs $20.", "Price of the Thunderbolt bike?", "Classes", ranked)
        == "name"
    )


def test_spoken_and_written_quantities_are_one() -> None:
    assert quantities("thirty days") == quantities("30 days")
    assert quantities("$249") == quantities("two hundred forty nine dollars")
    assert quantities("November 26") == quantities("on november twenty six")
    assert quantities("45 days") != quantities("45 dollars")


@pytest.mark.parametrize(
    ("clause", "question", "sentence", "reason"),
    [
        (
            "The order is shipped on November 26.",
            "Where is order 1042?",
            "Order FH-1042 has shipped and will arrive on November 26.",
            "relation",
        ),
        (
            "The Boulder store closes at 10 a.m. to 9 p.m.",
            "When does the Boulder store close?",
            "The Boulder store is open from 10 a.m. to 9 p.m. every day.",
            "relation",
        ),
        (
            "The store is open at 10 a.m. and 9 p.m.",
            "When is the store open?",
            "The store is open from 10 a.m. to 9 p.m.",
            "range",
        ),
        (
            "No stoves are affected by the recall.",
            "Which stoves are affected?",
            "No other stoves are affected by the recall.",
            "limit",
        ),
        ("Shipping is free on orders of $75.", "Is shipping free?", "Shipping is free on orders over $75.", "limit"),
        ("It keeps you warm to 18 degrees.", "How warm?", "It keeps you warm to minus 18 degrees.", "relation"),
    ],
)
def test_true_numbers_in_a_false_relation_are_rejected(clause: str, question: str, sentence: str, reason: str) -> None:
    assert rejection(clause, question, "Note", (sentence,)) == reason
