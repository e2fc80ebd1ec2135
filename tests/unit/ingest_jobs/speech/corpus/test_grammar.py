from __future__ import annotations

import random
import re

import pytest

from ingest_jobs.speech.corpus.grammar import _RULES, Grammar

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar.load()


def test_sentences_have_no_digits_signs_or_open_slots(grammar: Grammar) -> None:
    rng = random.Random(1)
    drawn = [grammar.draw(rng) for _ in range(2000)]
    assert not [said for said in drawn if not re.fullmatch(r"[a-z']+(?: [a-z']+)*", said)]
    assert len(set(drawn)) > 1700


def test_the_same_seed_draws_the_same_sentences(grammar: Grammar) -> None:
    first, again = random.Random(5), random.Random(5)
    assert [grammar.draw(first) for _ in range(50)] == [grammar.draw(again) for _ in range(50)]


def test_every_pattern_expands_in_every_of_its_choices(grammar: Grammar) -> None:
    patterns = [pattern for group in grammar.sentences.values() for pattern in group]
    for seed, pattern in enumerate(patterns * 5):
        expanded = grammar.expand(pattern, random.Random(seed))
        assert not re.search(r"[\[\]{}|]", expanded), pattern


def test_every_slot_is_a_list_or_a_rule(grammar: Grammar) -> None:
    named = {name for group in grammar.sentences.values() for p in group for name in re.findall(r"\{(\w+)\}", p)}
    assert named <= set(grammar.slots) | set(_RULES)


def test_products_are_named_in_full_and_in_short(grammar: Grammar) -> None:
    assert {"Larkspur Two tent", "Larkspur Two", "Otter inflatable kayak", "Otter"} <= set(grammar.slots["product"])
