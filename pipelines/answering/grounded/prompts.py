"""The prompt: a fixed head that stays in the prefix cache, followed by one fact and the question.

The head shows what is wanted instead of describing it, because a model of 135 million parameters follows four examples
far better than a paragraph (docs/adr/0004-grounding.md has the figures). The model sees only the sentence that answers,
not the whole passage, because it mixes up facts when it is given more.
"""

from __future__ import annotations

from pipelines.answering.grounded.evidence import Evidence
from pipelines.language.en.prompting import ANSWER_EXAMPLES, ANSWER_INSTRUCTION, fact_and_question
from pipelines.ports import ChatMessage


def _asked(fact: str, question: str) -> ChatMessage:
    return ChatMessage("user", fact_and_question(fact, question))


# The head is identical for every question of every caller, so its keys and values are computed only once.
_HEAD = (
    ChatMessage("system", ANSWER_INSTRUCTION),
    *(m for fact, asked, said in ANSWER_EXAMPLES for m in (_asked(fact, asked), ChatMessage("assistant", said))),
)


def answer_prompt(evidence: Evidence) -> tuple[ChatMessage, ...]:
    """Return the messages for one question. They take about 210 tokens, all but 30 to 60 of them in the shared head."""
    return (*_HEAD, _asked(evidence.best_sentence, evidence.question))
