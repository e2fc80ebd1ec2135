"""The limits that an answer keeps."""

from __future__ import annotations

from dataclasses import dataclass


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

    passages: int
    retrieval_budget_ms: int
    first_clause_budget_ms: int
    max_tokens: int
    max_sentences: int = 1
