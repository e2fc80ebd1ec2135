"""Decides whether generated words may be spoken: every number, name and negation must come from the passage.

Theory of operation. A small model that is given a passage mostly repeats it, and sometimes swaps two facts ("express
shipping costs $6.95"), invents a detail, or says yes where the passage says no. Each clause is therefore compared with
the one sentence of the passage that supports it best, not with the passage as a whole:

* its quantities, number and unit together, must all occur in that sentence and refer to the same thing: the word that a
  number depends on ("will arrive on November 26") must be there too ("is shipped on November 26" is false), a range
  stays a range, and a limit ("over", "other", "only") stays a limit;
* its content words must occur in that sentence or in the title. A word found only in another sentence of the passage is
  a mix-up, and a word found nowhere is an invention. Some function words and the question's own words are allowed;
* it must be negative exactly when the sentence is, and a leading "yes" or "no" must agree with it;
* the supporting sentence must be one that answers the question, not just any true one.

Strictness costs only style, because a clause that fails is replaced by the passage's own sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.language.en.assertions import GLUE_WORDS, LIMITS, MEASURE_VERBS, NEGATION, NEGATIVE_OPENERS, OPENER
from pipelines.language.en.calendar import MONTHS
from pipelines.language.en.numbers import digits_for_words
from pipelines.language.en.terms import content_words, raw_words
from pipelines.language.en.units import UNITS

_QUANTITY = re.compile(r"(\$)?\s?(?<![\d.,])(\d[\d,]*(?:\.\d+)?)\s*(%|[a-z]+(?:\.[a-z])?)?")
_DATE = re.compile(rf"\b({'|'.join(MONTHS)})\s+(\d+)")
_GLUE = frozenset(content_words(GLUE_WORDS))
_MAX_FROM_QUESTION = 2
_LINKS = frozenset(content_words(MEASURE_VERBS))
_NOT_GOVERNING = _GLUE | frozenset(content_words(" ".join((*MONTHS, "business", *UNITS))))
_RANGE = re.compile(r"(\d[\d.,]*)\s*(?:[ap]\.?m\.?|[a-z]+)?\s+to\s+\$?(\d[\d.,]*)")
_MIN_SUPPORT = 0.6

Quantity = tuple[str, str]


def rejection(clause: str, question: str, title: str, ranked_sentences: Sequence[str]) -> str:
    """Return the reason why `clause` must not be spoken, or "" when it may be.

    Args:
        clause: generated words, possibly only the first part of a sentence.
        question: the normalised question.
        title: the passage's title.
        ranked_sentences: the passage's sentences, best answer first.
    """
    opener = OPENER.match(clause)
    body = clause[opener.end() :] if opener else clause
    best = ranked_sentences[0]
    if opener and not _is_polarity_right(opener[1].lower(), question, best):
        return "polarity"
    words = [w for w in content_words(body) if w not in _GLUE]
    if not words:
        return "" if opener and not quantities(body) else "empty"
    if _supporting_sentence(words, title, ranked_sentences) != best:
        return "other fact"
    if not quantities(body) <= quantities(best) | _unitless(quantities(best)):
        return "number"
    if reason := _changed_relation(body, best):
        return reason
    own_text = f"{title} {best}"
    if reason := _strange_words(words, question, own_text, ranked_sentences):
        return reason
    if _has_strange_name(body, set(raw_words(own_text))):
        return "name"
    return "negation" if is_negative(body) != is_negative(best) else ""


def quantities(text: str) -> frozenset[Quantity]:
    """Return each number in `text` with its unit ("" when unknown).

    "30 days" and "thirty days" are the same quantity.
    """
    lowered = digits_for_words(text).lower()
    found = {(day, month) for month, day in _DATE.findall(lowered)}
    for sign, number, word in _QUANTITY.findall(_DATE.sub(" ", lowered)):
        found.add((_plain(number), _unit(sign, word)))
    return frozenset(found)


def is_negative(text: str) -> bool:
    """Return whether a sentence denies something."""
    return bool(NEGATION.search(text))


def _is_polarity_right(opener: str, question: str, best: str) -> bool:
    """Return whether a leading yes or no agrees.

    A negated question cannot be judged this way, so neither is allowed then.
    """
    if is_negative(question):
        return False
    return (opener in NEGATIVE_OPENERS) == is_negative(best)


def _supporting_sentence(words: list[str], title: str, ranked: Sequence[str]) -> str:
    """Return the sentence that shares the most words with the clause. Ties go to the better answer."""
    wanted = set(words)
    overlap = [len(wanted & set(content_words(f"{title} {sentence}"))) for sentence in ranked]
    return ranked[overlap.index(max(overlap))]


def _changed_relation(body: str, support: str) -> str:
    """Return how the clause uses the sentence's numbers to say something different, or "" when it does not."""
    missing_limits = (LIMITS & set(raw_words(support))) - set(raw_words(body))
    if missing_limits:
        return "limit"
    numbers = {number for number, _ in quantities(body)}
    if any(numbers & set(pair) and pair not in _ranges(body) for pair in _ranges(support)):
        return "range"
    said = set(content_words(body))
    governed = _governors(support)
    is_moved = any(governed[n] not in said for n in numbers if n in governed)
    return "relation" if is_moved else ""


def _ranges(text: str) -> set[tuple[str, str]]:
    return {(_plain(low), _plain(high)) for low, high in _RANGE.findall(digits_for_words(text).lower())}


def _governors(sentence: str) -> dict[str, str]:
    """Return, for each number, the word it depends on: the nearest preceding word that is more than a linking word."""
    governors: dict[str, str] = {}
    nearest = ""
    for word in content_words(sentence):
        if word[0].isdigit():
            if nearest and nearest not in _LINKS:
                governors[_plain(word)] = nearest
        elif word not in _NOT_GOVERNING:
            nearest = word
    return governors


def _strange_words(words: list[str], question: str, own_text: str, ranked: Sequence[str]) -> str:
    """Return the problem with words of the clause that its sentence lacks, or "" when they are harmless."""
    own = set(content_words(own_text))
    strange = [word for word in words if word not in own]
    if not set(content_words(" ".join(ranked))).isdisjoint(strange):
        return "mixed facts"
    if not set(content_words(question)).issuperset(strange):
        return "invented"
    is_thin = len(words) - len(strange) < _MIN_SUPPORT * len(words)
    return "unsupported" if is_thin or len(strange) > _MAX_FROM_QUESTION else ""


def _has_strange_name(body: str, known: set[str]) -> bool:
    """Return whether the clause has a capitalised word, taken as a name, that the passage lacks.

    The question may not supply it.
    """
    names = re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", body)
    return any(name.lower() not in known for name in names)


def _unitless(found: frozenset[Quantity]) -> frozenset[Quantity]:
    """Allow a missing unit, since a clause may end before it or say "at 30" for "at 30 degrees".

    A wrong unit still fails.
    """
    return frozenset((number, "") for number, _ in found)


def _plain(number: str) -> str:
    digits = number.replace(",", "")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _unit(sign: str, word: str) -> str:
    if sign or word in {"dollar", "dollars"}:
        return "$"
    if word == "%":
        return "percent"
    singular = word if word in UNITS else word.removesuffix("s") if word.removesuffix("s") in UNITS else word
    singular = {"inches": "inch", "business": "day"}.get(singular, singular)
    return singular.replace(".", "") if singular in UNITS else ""
