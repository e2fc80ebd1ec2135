"""The limits that an answer keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Bounds of one answer.

    Attributes:
        passages: how many passages are considered.
        retrieval_budget_ms: time for the search, after which the caller is told that the records cannot be reached.
        first_clause_budget_ms: time for the model's first clause, after which the passage's own sentence is spoken
            instead.
        max_tokens: the most tokens the model may generate.
        max_sentences: the model is stopped after this many sentences, since spoken answers should be short.
    """

    passages: int
    retrieval_budget_ms: int
    first_clause_budget_ms: int
    max_tokens: int
    max_sentences: int = 1
