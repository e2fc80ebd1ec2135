"""Reading a caller's question: small talk, spoken codes, follow-ups, and what kind of fact is asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from pipelines.language.en.numbers import digits_for_words
from pipelines.language.en.terms import content_words, raw_words
from pipelines.ports import ChatMessage

_SPELLED = re.compile(r"\b((?:[A-Za-z][ .-]+){1,3}[A-Za-z]?)(?=\d{3,}\b)")
_CODE_IN_PARTS = re.compile(
    r"(?<=\border )(?:number |no\.? |#)?(\d{1,2})[ -](\d{2})\b|\b(?<=number )(\d{1,2})[ -](\d{2})\b", re.IGNORECASE
)
_IDENTIFIER = re.compile(r"(?<![\d$.,])\d{3,}(?![\d.,]*\d)(?!\s*(?:dollars|percent|miles|people))")
_FOLLOW_UP = re.compile(
    r"\b(?:it|its|that|those|they|them|this one|that one)\b|^(?:and|what about|how about)\b", re.IGNORECASE
)
_FOLLOW_UP_MAX_WORDS = 2


class Courtesy(Enum):
    """Small talk that needs no data, with its reply."""

    GREETING = "Hello! How can I help you?"
    THANKS = "You're welcome. Is there anything else I can help you with?"
    GOODBYE = "Thank you for calling. Goodbye!"


_COURTESY_WORDS = {
    Courtesy.GOODBYE: frozenset("goodbye bye see you later".split()),
    Courtesy.THANKS: frozenset("thanks thank you thx appreciated cheers".split()),
    Courtesy.GREETING: frozenset("hello hi hey good morning afternoon evening there greetings".split()),
}
_COURTESY_KEYS = {
    Courtesy.GOODBYE: frozenset({"goodbye", "bye"}),
    Courtesy.THANKS: frozenset({"thanks", "thank", "thx", "cheers"}),
    Courtesy.GREETING: frozenset({"hello", "hi", "hey", "morning", "afternoon", "evening", "greetings"}),
}
_FILLER = frozenset(
    """so very much a lot for your help all that is that's great ok okay well and then perfect have nice day good
    the it was""".split()
)


class FactKind(Enum):
    """What the answer should hold, as far as the question's form tells."""

    MONEY = "money"
    WEIGHT = "weight"
    CLOCK = "clock"
    TIME = "time"
    COUNT = "count"
    PLACE = "place"
    ANY = "any"


# First match wins: "how much time" and "what time" come before "how much".
_KIND_OF_QUESTION = (
    (re.compile(r"\bhow much time\b"), FactKind.TIME),
    (re.compile(r"\bwhat time\b|\bhours\b|\bopen(?:ing)?\b|\bclos(?:e|ed|ing)\b"), FactKind.CLOCK),
    (re.compile(r"\bhow heavy\b|\bweigh(?:s|t)?\b"), FactKind.WEIGHT),
    (
        re.compile(r"\b(?:how much|price|costs?|charge|fee|spend|what did i pay|take off|discount|money off)\b"),
        FactKind.MONEY,
    ),
    (re.compile(r"\bhow (?:long|fast|soon|quick(?:ly)?|old|often)\b|\bwhen\b"), FactKind.TIME),
    (re.compile(r"\bhow many\b|\bwhat (?:share|percentage)\b|\bhow big\b"), FactKind.COUNT),
    (re.compile(r"\bwhere\b|\baddress\b"), FactKind.PLACE),
)
_FACT_OF_KIND = {
    FactKind.MONEY: re.compile(r"\$\s?\d|\d\s*(?:dollars|cents|percent|%)|\bfree\b"),
    FactKind.WEIGHT: re.compile(r"\d\s*(?:kilograms?|kg|grams?|g|pounds?|lbs?|ounces?)\b"),
    FactKind.CLOCK: re.compile(r"\d\s*[ap]\.?m\b|\bnoon\b|\bclosed?\b|\bopen\b"),
    FactKind.TIME: re.compile(
        r"\d\s*(?:business\s)?(?:minutes?|hours?|days?|weeks?|weekdays?|months?|years?)\b|\blifetime\b|\bnever\b"
        r"|\b(?:january|february|march|april|may|june|july|august|september|october|november|december) \d"
    ),
    FactKind.COUNT: re.compile(r"\d"),
    FactKind.PLACE: re.compile(r"\b(?:at \d|(?:in|from) [A-Z])"),
}  # fmt: skip


def courtesy(text: str) -> Courtesy | None:
    """Return the kind of small talk that `text` is and nothing more ("thanks a lot, bye"), else None."""
    words = [w for w in re.findall(r"[a-z']+", text.lower()) if w not in _FILLER]
    known = frozenset().union(*_COURTESY_WORDS.values())
    if not words or not known.issuperset(words):
        return None
    return next((kind for kind in Courtesy if _COURTESY_KEYS[kind] & set(words) and _outranks(kind, words)), None)


def _outranks(kind: Courtesy, words: list[str]) -> bool:
    """A goodbye wins over thanks, thanks over a greeting."""
    order = [Courtesy.GOODBYE, Courtesy.THANKS, Courtesy.GREETING]
    return not any(_COURTESY_KEYS[higher] & set(words) for higher in order[: order.index(kind)])


def normalise_question(text: str) -> str:
    """Write spoken numbers and codes as data writes them: "n w ten forty two" and "NW-1042" become "NW 1042"."""
    digits = digits_for_words(" ".join(text.split()))
    joined = _CODE_IN_PARTS.sub(lambda m: "".join(group for group in m.groups() if group), digits)
    return _SPELLED.sub(lambda m: f"{re.sub(r'[ .-]', '', m[1]).upper()} ", joined)


def identifiers(question: str) -> frozenset[str]:
    """Return the codes in a normalised question (order and article numbers); its answer must have them too."""
    return frozenset(_IDENTIFIER.findall(question))


def with_context(question: str, history: Sequence[ChatMessage]) -> str:
    """Return the question to search for: a follow-up ("and how heavy is it?") gets the previous question in front."""
    is_follow_up = bool(_FOLLOW_UP.search(question)) and len(content_words(question)) <= _FOLLOW_UP_MAX_WORDS
    previous = next((m.content for m in reversed(history) if m.role == "user"), "")
    return f"{normalise_question(previous)} {question}" if is_follow_up and previous else question


def fact_kind(question: str) -> FactKind:
    """Return what kind of fact the question asks for, by its form."""
    lowered = " ".join(raw_words(question))
    return next((kind for pattern, kind in _KIND_OF_QUESTION if pattern.search(lowered)), FactKind.ANY)


def holds_fact(kind: FactKind, sentence: str) -> bool:
    """Say whether a sentence holds a fact of this kind; any sentence does for `FactKind.ANY`."""
    if kind is FactKind.ANY:
        return True
    text = digits_for_words(sentence)
    return bool(_FACT_OF_KIND[kind].search(text if kind is FactKind.PLACE else text.lower()))
