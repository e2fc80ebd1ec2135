"""The prompt: a fixed head that the prefix cache keeps, then one fact, then the question.

The head shows what is wanted instead of describing it: a model of 135 million parameters follows four examples far
better than a paragraph (docs/adr/0004-grounding.md has the figures). The model sees the one sentence that answers, not
the passage: given more it mixes facts.
"""

from __future__ import annotations

from pipelines.answering.grounded.evidence import Evidence
from pipelines.language.en.prompting import ANSWER_EXAMPLES, ANSWER_INSTRUCTION, fact_and_question
from pipelines.ports import ChatMessage


def _asked(fact: str, question: str) -> ChatMessage:
    return ChatMessage("user", fact_and_question(fact, question))


# The same for every question of every caller, so that its keys and values are computed once.
_HEAD = (
    ChatMessage("system", ANSWER_INSTRUCTION),
    *(m for fact, asked, said in ANSWER_EXAMPLES for m in (_asked(fact, asked), ChatMessage("assistant", said))),
)


def answer_prompt(evidence: Evidence) -> tuple[ChatMessage, ...]:
    """Return the messages for one question: about 210 tokens, of which all but 30 to 60 are the shared head."""
    return (*_HEAD, _asked(evidence.best_sentence, evidence.question))
