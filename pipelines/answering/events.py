"""Who answers, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Agent(Protocol):
    """Who answers. `cluster.config.schema.AgentConfig` is one."""

    @property
    def company(self) -> str:
        """Company name, spoken and told to the model."""

    @property
    def tenant(self) -> str:
        """Whose data is searched."""

    @property
    def min_similarity(self) -> float:
        """Passages below this cosine similarity are not near."""

    @property
    def min_matched_terms(self) -> float:
        """Passages that hold a smaller share of the question's words are not near."""

    @property
    def min_evidence(self) -> float:
        """Least sum of similarity and weighted word coverage of a passage that may answer."""

    @property
    def refusal(self) -> str:
        """What is said when nothing is near."""


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Bounds of one answer.

    Attributes:
        passages: how many are looked at.
        retrieval_budget_ms: after it the caller hears that the records cannot be reached.
        first_clause_budget_ms: after it the passage's own sentence is spoken instead of the model's words.
        max_tokens: the model's limit.
        max_sentences: the model is stopped after so many; voice answers are short.
    """

    passages: int = 6
    retrieval_budget_ms: int = 400
    first_clause_budget_ms: int = 1500
    max_tokens: int = 48
    max_sentences: int = 1
