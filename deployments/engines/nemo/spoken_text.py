"""Writes recognised words as text: joined by spaces, with spoken numbers as digits. Pure but for a library's tables.

text2num converts the numbers (cardinals and ordinals; a lone "one" stays a word). Numbers that it leaves side by side
are codes, which people spell digit by digit or in pairs: it reads "ten forty two" as 10 and 42, where we want order
1042.

A number may still grow while its caller speaks ("ten", "ten forty"), so text is settled up to the last word that is
certainly not part of one, and only what comes after it is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from text_to_num import alpha2digit

_LANGUAGE = "en"
_NEIGHBOURS = re.compile(r"(?<![\d.,])(\d+)(?: (\d+))+(?![\d.,])(?!\w)")
_ZERO = re.compile(r"\b(?:oh|o)\b", re.IGNORECASE)
_MARKS = ".,;:?!"
# Words that occur inside numbers without being numbers themselves.
_CONNECTORS = frozenset("and oh o a point minus plus".split())


class SpokenText:
    """The text of one stream, whose words only ever grow at the end.

    Args:
        digits: whether spoken numbers are written as digits.
    """

    def __init__(self, *, digits: bool) -> None:
        self._digits = digits
        self._settled_words = 0
        self._settled = ""

    def write(self, words: Sequence[str]) -> tuple[str, int]:
        """Return the text of `words`, and the length of its prefix that further words will not change."""
        settled = self._settleable(words)
        if settled > self._settled_words:
            self._settled = _join(self._settled, self._render(words[self._settled_words : settled]))
            self._settled_words = settled
        return self.preview(words)

    def preview(self, words: Sequence[str]) -> tuple[str, int]:
        """Return the same for words that may be taken back. They must include at least all words written before."""
        return _join(self._settled, self._render(words[self._settled_words :])), len(self._settled)

    def _settleable(self, words: Sequence[str]) -> int:
        """Return how many leading words end with one that is complete and not part of a number that may still grow."""
        for count in range(len(words) - 1, self._settled_words, -1):
            if not self._digits or not _is_number_part(words[count - 1]):
                return count
        return self._settled_words

    def _render(self, words: Sequence[str]) -> str:
        return digits_of(" ".join(words)) if self._digits else " ".join(words)


def digits_of(text: str) -> str:
    """Write spoken numbers as digits: "order one oh four two" becomes "order 1042".

    Each run of number words is converted separately. If the text were converted as a whole, a lone "one" would become a
    digit when another number follows later, after the first part has already been reported.
    """
    runs = groupby(text.split(" "), _is_number_part)
    return " ".join(_read(" ".join(run)) if is_number else " ".join(run) for is_number, run in runs)


def _read(run: str) -> str:
    return _NEIGHBOURS.sub(lambda found: found[0].replace(" ", ""), alpha2digit(_with_zeros(run), _LANGUAGE))


def _with_zeros(text: str) -> str:
    """Read "oh" as zero between numbers, as in "one oh four". Elsewhere it is an exclamation."""
    words = text.split(" ")
    for at, word in enumerate(words[1:-1], start=1):
        if _ZERO.fullmatch(word) and _is_number(words[at - 1]) and (_is_number(words[at + 1]) or _is_oh(words[at + 1])):
            words[at] = "zero"
    return " ".join(words)


def _is_oh(word: str) -> bool:
    return _ZERO.fullmatch(word) is not None


def _is_number_part(word: str) -> bool:
    return word.strip(_MARKS).lower() in _CONNECTORS or _is_number(word)


@lru_cache(maxsize=4096)
def _is_number(word: str) -> bool:
    return bool(alpha2digit(word, _LANGUAGE, threshold=0) != word)


def _join(left: str, right: str) -> str:
    return f"{left} {right}" if left and right else left or right
