"""Small talk: greetings, thanks and goodbyes that ask for nothing."""

from __future__ import annotations

import re
from enum import Enum


class Courtesy(Enum):
    """Small talk that needs no data, with its reply."""

    GREETING = "Hello! How can I help you?"
    THANKS = "You're welcome. Is there anything else I can help you with?"
    GOODBYE = "Thank you for calling. Goodbye!"


_WORDS = {
    Courtesy.GOODBYE: frozenset("goodbye bye see you later".split()),
    Courtesy.THANKS: frozenset("thanks thank you thx appreciated cheers".split()),
    Courtesy.GREETING: frozenset("hello hi hey good morning afternoon evening there greetings".split()),
}
# At least one of these words must be said.
_KEYS = {
    Courtesy.GOODBYE: frozenset({"goodbye", "bye"}),
    Courtesy.THANKS: frozenset({"thanks", "thank", "thx", "cheers"}),
    Courtesy.GREETING: frozenset({"hello", "hi", "hey", "morning", "afternoon", "evening", "greetings"}),
}
_FILLER = frozenset(
    """so very much a lot for your help all that is that's great ok okay well and then perfect have nice day good
    the it was""".split()
)


def courtesy(text: str) -> Courtesy | None:
    """Return the kind of small talk if `text` is nothing else ("thanks a lot, bye"), else None."""
    words = [w for w in re.findall(r"[a-z']+", text.lower()) if w not in _FILLER]
    known = frozenset().union(*_WORDS.values())
    if not words or not known.issuperset(words):
        return None
    return next((kind for kind in Courtesy if _KEYS[kind] & set(words) and _outranks(kind, words)), None)


def _outranks(kind: Courtesy, words: list[str]) -> bool:
    """Return whether no higher kind was said: a goodbye outranks thanks, and thanks outrank a greeting."""
    order = [Courtesy.GOODBYE, Courtesy.THANKS, Courtesy.GREETING]
    return not any(_KEYS[higher] & set(words) for higher in order[: order.index(kind)])
