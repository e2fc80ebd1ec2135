"""Reduces text to its meaningful words in a canonical form, so that a caller's words can be compared with the data's.

The same terms feed the BM25 field of the collection, the coverage that decides "I don't have that", the choice of the
best sentence and the grounding check.
"""

from __future__ import annotations

import re

from pipelines.language.en.numbers import digits_for_words
from pipelines.language.en.words import STOP_WORDS, SYNONYMS

_WORD = re.compile(r"\d+(?:\.\d+)?|[a-z]+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_CONTRACTION = re.compile(r"(?<=[a-z])['\u2019](?:s|re|ve|ll|d|m)\b")


def content_words(text: str) -> list[str]:
    """Return the meaningful words of `text`, in order: lower case, stemmed, synonyms merged, numbers as digits."""
    return [term for term in (_term(word) for word in raw_words(text)) if term]


def raw_words(text: str) -> list[str]:
    """Return all words of `text` in lower case, with numbers as digits and contractions cut ("what's" gives "what")."""
    lowered = _CONTRACTION.sub("", digits_for_words(text).lower())
    return _WORD.findall(_THOUSANDS.sub("", lowered))


def coverage(question: str, text: str) -> float:
    """Return the share (0.0 to 1.0) of the question's content words that `text` contains; 0.0 when it has none."""
    wanted = set(content_words(question))
    return len(wanted & set(content_words(text))) / len(wanted) if wanted else 0.0


def _term(word: str) -> str:
    if word[0].isdigit():
        return word.removesuffix(".00")
    if word in STOP_WORDS or (len(word) == 1):
        return ""
    return SYNONYMS.get(word) or SYNONYMS.get(stem(word)) or stem(word)


def stem(word: str) -> str:
    """Strip the most common English endings, so that "orders" and "ordering" match.

    Crude is enough: both sides agree.
    """
    for ending, kept in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + kept
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 4 else word
