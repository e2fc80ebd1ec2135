"""What answering reports while it runs, and the limits it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pipelines.ports import Passage


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


class Grounding(StrEnum):
    """Where the words that were spoken come from."""

    MODEL = "model"
    """The language model's words; every clause passed the grounding check."""
    PASSAGE = "passage"
    """The passage's own best sentence, since the model's words did not pass."""
    MIXED = "mixed"
    """Checked model words, then the passage's own sentence."""
    REFUSED = "refused"
    """Nothing near was found."""
    UNREACHABLE = "unreachable"
    """The records could not be searched."""
    COURTESY = "courtesy"
    """A greeting, thanks or goodbye; nothing was searched."""


@dataclass(frozen=True, slots=True)
class PassagesFound:
    """Retrieval has ended. `chosen` is the passage that the answer rests on, None when nothing is near."""

    passages: tuple[Passage, ...]
    chosen: Passage | None
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class AnswerClause:
    """A piece to speak; clauses joined give the answer. Exactly one has `is_last`."""

    text: str
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class AnswerFinished:
    """The answer is complete. `rejected` says why the model's words were not used, "" when they were."""

    grounded: Grounding
    rejected: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


AnswerEvent = PassagesFound | AnswerClause | AnswerFinished
