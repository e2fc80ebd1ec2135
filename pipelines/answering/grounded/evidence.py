"""Which passage, and which of its sentences, answers a question; and whether any is near enough to answer at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.agents.definition import Agent
from pipelines.language.en.facts import FactKind, fact_kind, holds_fact
from pipelines.language.en.questions import identifiers
from pipelines.language.en.sentences import sentences
from pipelines.language.en.terms import coverage, raw_words
from pipelines.ports import Passage

# Measured on the sample questions (docs/adr/0004-grounding.md): how much one matched share of words weighs against
# cosine similarity, and what a sentence gains by holding the kind of fact that is asked for.
COVERAGE_WEIGHT = 0.3
_FACT_BONUS = 0.4
_LATER_PENALTY = 0.02


@dataclass(frozen=True, slots=True)
class Evidence:
    """The passage that an answer rests on.

    Attributes:
        question: normalised, as it was searched for.
        passage: where the answer comes from.
        sentences: its sentences, best answer first.
        strength: similarity plus weighted coverage of the question's words, of the passage and of its best sentence in
            the mean; comparable between questions.
    """

    question: str
    passage: Passage
    sentences: tuple[str, ...]
    strength: float

    @property
    def best_sentence(self) -> str:
        """The sentence that answers best when it is read out as it is."""
        return self.sentences[0]


def find_evidence(question: str, passages: Sequence[Passage], agent: Agent) -> Evidence | None:
    """Return the best evidence among `passages` for a normalised question, or None when nothing is near.

    A question that names a code (an order number) can be answered only by a passage that has this code.
    """
    codes = identifiers(question)
    usable = [p for p in passages if p.text.strip() and codes <= set(raw_words(f"{p.title} {p.text}"))]
    if not usable:
        return None
    passage = max(usable, key=lambda p: _best_score(question, p))
    ranked = _ranked_positions(question, passage)
    found = sentences(passage.text)
    evidence = Evidence(question, passage, tuple(found[i] for i in ranked), _strength(question, passage, ranked[0]))
    return evidence if _is_near(evidence, agent) else None


def _is_near(evidence: Evidence, agent: Agent) -> bool:
    return (
        evidence.passage.similarity >= agent.knowledge.min_similarity
        and evidence.passage.matched_terms >= agent.knowledge.min_matched_terms
        and evidence.strength >= agent.knowledge.min_evidence
    )


def _strength(question: str, passage: Passage, position: int) -> float:
    """Return how near passage and sentence are together: a near passage of far sentences is on another topic."""
    sentence = sentences(passage.text)[position]
    whole = passage.similarity + COVERAGE_WEIGHT * passage.matched_terms
    part = _likeness(passage, position) + COVERAGE_WEIGHT * coverage(question, f"{passage.title}. {sentence}")
    return (whole + part) / 2


def _best_score(question: str, passage: Passage) -> float:
    return passage.similarity + max(_sentence_scores(question, passage))


def _ranked_positions(question: str, passage: Passage) -> list[int]:
    scores = _sentence_scores(question, passage)
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))


def _sentence_scores(question: str, passage: Passage) -> list[float]:
    """Score each sentence: likeness in meaning, the question's words in it or its title, the right kind of fact."""
    kind = fact_kind(question)
    scores: list[float] = []
    for position, sentence in enumerate(sentences(passage.text)):
        own = coverage(question, sentence)
        titled = coverage(question, f"{passage.title}. {sentence}")
        bonus = _FACT_BONUS if kind is not FactKind.ANY and holds_fact(kind, sentence) else 0.0
        # What a text says first is what it is about: order status before order total.
        scores.append(0.6 * own + 0.4 * titled + bonus - _LATER_PENALTY * position + _likeness(passage, position))
    return scores


def _likeness(passage: Passage, position: int) -> float:
    known = passage.sentence_similarities
    return known[position] if position < len(known) else passage.similarity
