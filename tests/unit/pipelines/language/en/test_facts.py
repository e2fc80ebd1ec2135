from __future__ import annotations

import pytest

from pipelines.language.en.facts import FactKind, fact_kind, holds_fact

pytestmark = pytest.mark.unit


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


def test_any_sentence_answers_a_question_without_a_kind() -> None:
    assert fact_kind("Do you sell gift cards?") is FactKind.ANY
    assert holds_fact(FactKind.ANY, "It is made of wool.")
