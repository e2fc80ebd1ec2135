"""Numbers as people say them, made comparable with numbers as data writes them.

"thirty days" and "30 days", "order ten forty two" and "order 1042" must meet in retrieval, in the grounding check and
in the evaluation. All three use this one reading.
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
# "One thousand forty six" as recognisers write it when they lose the thread: "1,000 46", "1000-46".
_SPLIT_THOUSAND = re.compile(r"\b(\d{1,3})(?:,000[ -]|000-)(\d{1,2})\b")
_TOKEN = re.compile(r"[A-Za-z]+|[^A-Za-z]+")
# A lone "one" is mostly a pronoun ("this one"); before a unit of measure it is a number.
_COUNTED = frozenset(
    "business day days hour hours week weeks month months minute minutes year years percent dollar".split()
)


def digits_for_words(text: str) -> str:
    """Replace number words by digits: "two hundred and forty nine dollars" becomes "249 dollars".

    Neighbouring numbers that do not form one cardinal are read as people spell codes, side by side: "ten forty two"
    becomes "1042", "one oh four two" too. A lone "one" stays a word unless a unit of measure follows. A thousand that
    was written apart from its rest is joined: "1,000 46" becomes "1046".
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
    """Say whether the "and" at `position` stands inside a cardinal: after a scale, before a small number."""
    return tokens[position - 2].lower() in _SCALES and _is_number_word(tokens, position + 2)


def _is_number_word(tokens: list[str], position: int) -> bool:
    return position < len(tokens) and tokens[position].lower() in _SMALL


def _read(words: list[str]) -> str:
    """Read number words; groups that do not continue one another are written side by side."""
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
