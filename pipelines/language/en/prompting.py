"""Instructions and examples that make a small language model answer from one fact in one sentence."""

from __future__ import annotations

ANSWER_INSTRUCTION = "Answer the caller's question in one short sentence, using only the given fact."
# Each example is a fact, a question and an answer: a restatement, a yes, a no, and half of a fact. They come from four
# trades, so that the model does not pick up any one of them.
ANSWER_EXAMPLES = (
    ("The evening tour costs $12.", "How much is the evening tour?", "The evening tour costs $12."),
    ("Parking is free for all guests.", "Can I park there?", "Yes, parking is free for all guests."),
    ("We do not rent bikes.", "Can I rent a bike from you?", "No, we do not rent bikes."),
    ("The course starts on May 4 and lasts 2 weeks.", "When is the course?", "The course starts on May 4."),
)


def fact_and_question(fact: str, question: str) -> str:
    """Return a fact and a question in the form shown to the model."""
    return f"Fact: {fact}\nQuestion: {question}"
