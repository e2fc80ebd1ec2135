"""Converts numbers as people say them to the form in which data writes them, so that both can be compared.

"thirty days" and "30 days", "order ten forty two" and "order 1042" must match in retrieval, in the grounding check and
in the evaluation. All three use this conversion.
"""

from __future__ import annotations

import re

_UNITS = dict(zip("zero one two three four five six seven eight nine".split(), range(10), strict=True))
_TEENS = dict(
    zip(
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(),
        range(10, 20),
        strict=True,
    )
)
_TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10), strict=True))
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_SMALL = {**_UNITS, **_TEENS, **_TENS}
# Recognisers sometimes write "one thousand forty six" in two parts: "1,000 46" or "1000-46".
_SPLIT_THOUSAND = re.compile(r"\b(\d{1,3})(?:,000[ -]|000-)(\d{1,2})\b")
_TOKEN = re.compile(r"[A-Za-z]+|[^A-Za-z]+")
# A lone "one" is usually a pronoun ("this one"), but before a unit of measure it is a number.
_COUNTED = frozenset(
    "business day days hour hours week weeks month months minute minutes year years percent dollar".split()
)


def digits_for_words(text: str) -> str:
    """Replace number words with digits: "two hundred and forty nine dollars" becomes "249 dollars".

    Adjacent numbers that do not form one cardinal are concatenated, as people spell codes: both "ten forty two" and
    "one oh four two" become "1042". A lone "one" stays a word unless a unit of measure follows. A thousand written
    apart from its remainder is joined to it: "1,000 46" becomes "1046".
    """
    text = _SPLIT_THOUSAND.sub(lambda found: f"{found[1]}{found[2]:0>3}", text)
    tokens = _TOKEN.findall(text)
    out: list[str] = []
    position = 0
    while position < len(tokens):
        end = _run_end(tokens, position)
        if end == position:
            out.append(tokens[position])
            position += 1
            continue
        words = [token.lower() for token in tokens[position:end] if token.isalpha()]
        is_pronoun = words == ["one"] and not _is_counted(tokens, end)
        out.append(tokens[position] if is_pronoun else _read(words))
        position = end
    return "".join(out)


def _is_counted(tokens: list[str], position: int) -> bool:
    following = tokens[position + 1] if position + 1 < len(tokens) else ""
    return following.lower() in _COUNTED


def _run_end(tokens: list[str], start: int) -> int:
    """Return the end (exclusive) of the run of number words at `start`; `start` itself when there is none."""
    if tokens[start].lower() not in _SMALL:
        return start
    end = start + 1
    while end + 1 < len(tokens) and tokens[end] in {" ", "-"}:
        word = tokens[end + 1].lower()
        if word == "and" and _joins(tokens, end + 1):
            end += 4
        elif word in _SMALL or word in _SCALES or (word in {"oh", "o"} and _is_number_word(tokens, end + 3)):
            end += 2
        else:
            break
    return end


def _joins(tokens: list[str], position: int) -> bool:
    """Return whether the "and" at `position` is inside a cardinal: after a scale and before a small number."""
    return tokens[position - 2].lower() in _SCALES and _is_number_word(tokens, position + 2)


def _is_number_word(tokens: list[str], position: int) -> bool:
    return position < len(tokens) and tokens[position].lower() in _SMALL


def _read(words: list[str]) -> str:
    """Convert number words to digits. Groups that do not continue one another are concatenated."""
    groups: list[str] = []
    total, current, room = 0, -1, 0
    for word in (w for w in words if w != "and"):
        value = _SCALES.get(word) or (0 if word in {"oh", "o"} else _SMALL[word])
        if word in _SCALES:
            current = max(current, 1) * value
            if value >= 1000:
                total, current = total + current, 0
            room = value
        elif current >= 0 and 0 < value < room:
            current += value
            room = 10 if word in _TENS else 0
        else:
            if current >= 0:
                groups.append(str(total + current))
            total, current = 0, value
            room = 10 if word in _TENS else 0
    groups.append(str(total + max(current, 0)))
    return "".join(groups)
