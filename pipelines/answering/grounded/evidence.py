"""Finds the passage and the sentence that answer a question, and decides whether any is close enough to be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.agents.definition import Agent
from pipelines.language.en.facts import FactKind, fact_kind, holds_fact
from pipelines.language.en.questions import identifiers
from pipelines.language.en.sentences import sentences
from pipelines.language.en.terms import coverage, raw_words
from pipelines.ports import Passage

# Both weights were measured on the sample questions (docs/adr/0004-grounding.md): the weight of the matched share of
# words against cosine similarity, and the bonus for a sentence that holds the kind of fact asked for.
COVERAGE_WEIGHT = 0.3
_FACT_BONUS = 0.4
_LATER_PENALTY = 0.02


@dataclass(frozen=True, slots=True)
class Evidence:
    """The passage that an answer rests on.

    Attributes:
        question: the normalised question, as it was searched for.
        passage: the passage the answer comes from.
        sentences: the passage's sentences, best answer first.
        strength: the mean, over the passage and its best sentence, of similarity plus weighted coverage of the
            question's words. It is comparable between questions.
    """

    question: str
    passage: Passage
    sentences: tuple[str, ...]
    strength: float

    @property
    def best_sentence(self) -> str:
        """The sentence that answers best when it is read out verbatim."""
        return self.sentences[0]


def find_evidence(question: str, passages: Sequence[Passage], agent: Agent) -> Evidence | None:
    """Return the best evidence among `passages` for a normalised question, or None when none is close enough.

    A question that names a code (such as an order number) can be answered only by a passage that contains the code.
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
    """Return the combined strength of both, since a close passage without a close sentence is off topic."""
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
    """Score each sentence by similarity, by words shared with it or its title, and by the kind of fact it holds."""
    kind = fact_kind(question)
    scores: list[float] = []
    for position, sentence in enumerate(sentences(passage.text)):
        own = coverage(question, sentence)
        titled = coverage(question, f"{passage.title}. {sentence}")
        bonus = _FACT_BONUS if kind is not FactKind.ANY and holds_fact(kind, sentence) else 0.0
        # A text tends to open with what it is about: an order's status comes before its total.
        scores.append(0.6 * own + 0.4 * titled + bonus - _LATER_PENALTY * position + _likeness(passage, position))
    return scores


def _likeness(passage: Passage, position: int) -> float:
    known = passage.sentence_similarities
    return known[position] if position < len(known) else passage.similarity
