"""Words that carry meaning, in one form, so that a caller's words and the data's words can be compared.

The same terms feed the BM25 field of the collection, the coverage that decides "I don't have that", the choice of the
best sentence and the grounding check.
"""

from __future__ import annotations

import re

from pipelines.language.en.numbers import digits_for_words

_WORD = re.compile(r"\d+(?:\.\d+)?|[a-z]+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_CONTRACTION = re.compile(r"(?<=[a-z])['\u2019](?:s|re|ve|ll|d|m)\b")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'$])")
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|st|no|vs|e\.g|i\.e)\.$", re.IGNORECASE)

_STOP_WORDS = frozenset(
    """a about actually all also am an and any anyone anything are as at be been being but by can could d did do does
    doing for from get gets give go goes going gonna got guys had has have having hello hey hi how i if in into
    is it its just kindly know let like ll long m many may me mine much must my need no not now of off ok okay
    on one or our out over please possible re say shall she should so some somebody something sure tell than
    thanks that the their them then there these they thing things this those to too um up us use ve very want
    wanna was way we well were what when where which who whom why will with would yes you your check going fast
    quickly soon exactly happen happens okay called call""".split()
)
# Everyday words for the same thing. One direction: the left becomes the right on both sides.
_SYNONYMS = {
    "price": "cost", "pay": "cost", "paid": "cost", "charge": "cost", "fee": "cost", "expensive": "cost",
    "total": "cost", "weight": "weigh", "heavy": "weigh", "color": "colour", "shop": "store", "money": "refund",
    "cancelled": "cancel", "canceled": "cancel", "bought": "buy", "purchase": "buy", "regular": "standard",
    "fix": "repair", "mend": "repair", "sent": "ship", "shipping": "ship", "shipped": "ship", "delivery":
    "deliver", "litre": "liter", "photograph": "photo", "picture": "photo", "fibre": "fiber", "veteran":
    "military", "manufacture": "make", "made": "make", "available": "stock", "availability": "stock",
    "delivered": "deliver", "deliveries": "deliver",
}  # fmt: skip


def sentences(text: str) -> list[str]:
    """Split text into sentences; "2 p.m. Eastern" and "Mr. Reed" stay whole."""
    out: list[str] = []
    for piece in _SENTENCE_END.split(text.strip()):
        continues = out and (
            _ABBREVIATION.search(out[-1]) or (re.search(r"\b[ap]\.m\.$", out[-1]) and _is_clock_tail(piece))
        )
        if continues:
            out[-1] = f"{out[-1]} {piece}"
        elif piece:
            out.append(piece)
    return out


def _is_clock_tail(piece: str) -> bool:
    return piece.startswith(("Eastern", "Monday", "Central", "Pacific"))


def content_words(text: str) -> list[str]:
    """Return the meaningful words of `text`, in order: lower case, stemmed, synonyms merged, numbers as digits."""
    return [term for term in (_term(word) for word in raw_words(text)) if term]


def raw_words(text: str) -> list[str]:
    """Return all words of `text` in lower case, numbers as digits, contractions cut ("what's" gives "what")."""
    lowered = _CONTRACTION.sub("", digits_for_words(text).lower())
    return _WORD.findall(_THOUSANDS.sub("", lowered))


def coverage(question: str, text: str) -> float:
    """Return the share (0.0 to 1.0) of the question's content words that `text` contains; 0.0 when it has none."""
    wanted = set(content_words(question))
    return len(wanted & set(content_words(text))) / len(wanted) if wanted else 0.0


def _term(word: str) -> str:
    if word[0].isdigit():
        return word.removesuffix(".00")
    if word in _STOP_WORDS or (len(word) == 1):
        return ""
    return _SYNONYMS.get(word) or _SYNONYMS.get(stem(word)) or stem(word)


def stem(word: str) -> str:
    """Cut the commonest English endings, so that "orders" and "ordering" meet. Crude on purpose: both sides agree."""
    for ending, kept in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + kept
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 4 else word
