"""The prompt: a fixed head that the prefix cache keeps, then one fact, then the question.

The head shows what is wanted instead of describing it: a model of 135 million parameters follows four examples far
better than a paragraph (docs/adr/0004-grounding.md has the figures). The model sees the one sentence that answers, not
the passage: given more it mixes facts.
"""

from __future__ import annotations

from pipelines.answering.grounded.evidence import Evidence
from pipelines.ports import ChatMessage

_SYSTEM = "Answer the caller's question in one short sentence, using only the given fact."
_EXAMPLES = (
    ("The Fern lamp costs $12.", "How much is the Fern lamp?", "The Fern lamp costs $12."),
    ("Parking is free for all guests.", "Can I park there?", "Yes, parking is free for all guests."),
    ("We do not rent bikes.", "Can I rent a bike from you?", "No, we do not rent bikes."),
    ("The sale starts on May 4 and lasts 2 weeks.", "When is the sale?", "The sale starts on May 4."),
)


def _asked(fact: str, question: str) -> ChatMessage:
    return ChatMessage("user", f"Fact: {fact}\nQuestion: {question}")


# The same for every question of every caller, so that its keys and values are computed once.
_HEAD = (
    ChatMessage("system", _SYSTEM),
    *(m for fact, asked, said in _EXAMPLES for m in (_asked(fact, asked), ChatMessage("assistant", said))),
)


def answer_prompt(evidence: Evidence) -> tuple[ChatMessage, ...]:
    """Return the messages for one question: about 210 tokens, of which all but 30 to 60 are the shared head."""
    return (*_HEAD, _asked(evidence.best_sentence, evidence.question))
