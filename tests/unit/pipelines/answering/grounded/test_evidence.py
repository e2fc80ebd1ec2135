"""Which passage and sentence answer a question, when none does, and what the model is shown of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.agents.definition import Agent
from pipelines.answering.grounded.evidence import find_evidence
from pipelines.answering.grounded.prompts import answer_prompt
from pipelines.language.en.prompting import ANSWER_EXAMPLES, fact_and_question
from pipelines.ports import Passage
from tests.agents import AGENT

pytestmark = pytest.mark.unit
COSTS = Passage(
    "We ship daily. Standard shipping costs $6.95. Returns take a week.", "faq/shipping.md", "Shipping", 1.0, 0.8, 1.0
)
QUESTION = "how much is standard shipping"


def agent(**knowledge: float) -> Agent:
    return replace(AGENT, knowledge=replace(AGENT.knowledge, **knowledge))  # type: ignore[arg-type]


def test_sentence_that_holds_the_wanted_fact_comes_first_and_none_is_lost() -> None:
    evidence = find_evidence(QUESTION, [COSTS], AGENT)
    assert evidence is not None
    assert evidence.best_sentence == "Standard shipping costs $6.95."
    assert sorted(evidence.sentences) == ["Returns take a week.", "Standard shipping costs $6.95.", "We ship daily."]


def test_nearer_passage_wins() -> None:
    far = replace(COSTS, text="Standard shipping costs $9.", source="old.md", similarity=0.3)
    evidence = find_evidence(QUESTION, [far, COSTS], AGENT)
    assert evidence is not None
    assert evidence.passage is COSTS


def test_likeness_of_sentences_decides_between_those_of_equal_words() -> None:
    text = "The tent is green. The tent is large."
    for likeness, best in (((0.9, 0.1), "The tent is green."), ((0.1, 0.9), "The tent is large.")):
        passage = Passage(text, "s", "Tent", 1.0, 0.8, 1.0, sentence_similarities=likeness)
        evidence = find_evidence("tell me about the tent", [passage], AGENT)
        assert evidence is not None
        assert evidence.best_sentence == best


def test_code_is_answered_only_by_a_passage_that_has_it() -> None:
    question = "where is order FH-1001"
    other = Passage("Order FH-1002 is on its way.", "orders", "Order FH-1002", 1.0, 0.95, 1.0)
    right = Passage("Order FH-1001 is on its way.", "orders", "Order FH-1001", 1.0, 0.7, 1.0)
    assert find_evidence(question, [other], AGENT) is None
    evidence = find_evidence(question, [other, right], AGENT)
    assert evidence is not None
    assert evidence.passage is right


@pytest.mark.parametrize("bound", ["min_similarity", "min_matched_terms", "min_evidence"])
def test_each_bound_alone_makes_a_passage_too_far(bound: str) -> None:
    everything = agent(min_similarity=-1.0, min_matched_terms=0.0, min_evidence=0.0)
    assert find_evidence(QUESTION, [COSTS], everything) is not None
    knowledge = replace(everything.knowledge, **{bound: 5.0})  # type: ignore[arg-type]
    assert find_evidence(QUESTION, [COSTS], replace(everything, knowledge=knowledge)) is None


def test_nothing_and_empty_text_are_no_evidence() -> None:
    everything = agent(min_similarity=-1.0, min_matched_terms=0.0, min_evidence=0.0)
    assert find_evidence(QUESTION, [], everything) is None
    assert find_evidence(QUESTION, [replace(COSTS, text="  ")], everything) is None


def test_prompt_has_the_same_head_for_every_question_then_one_fact() -> None:
    first = find_evidence(QUESTION, [COSTS], AGENT)
    second = find_evidence("when do you ship", [COSTS], agent(min_similarity=-1, min_matched_terms=0, min_evidence=0))
    assert first is not None
    assert second is not None
    prompt, other = answer_prompt(first), answer_prompt(second)
    assert prompt[:-1] == other[:-1]
    assert [message.role for message in prompt] == ["system", *["user", "assistant"] * len(ANSWER_EXAMPLES), "user"]
    assert prompt[-1].content == fact_and_question("Standard shipping costs $6.95.", QUESTION)
    assert "Returns" not in prompt[-1].content
