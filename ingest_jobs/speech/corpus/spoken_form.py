"""Converts written text to the spoken words that the recogniser learns: lower case, without digits and signs.

Numbers are read by num2words, in one of several ways where people differ ("1042": "one thousand and forty two",
"ten forty two", "one oh four two"). The result contains only letters, apostrophes and single spaces.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache

from num2words import num2words

_SIGNS = {"&": " and ", "%": " percent ", "@": " at ", "+": " plus ", "°": " degrees ", "=": " equals ", "/": " slash "}
_MONEY = re.compile(r"\$(\d[\d,]*)(?:\.(\d\d))?")
_TIME = re.compile(r"\b(\d{1,2})(?::(\d\d))?\s*([ap])\.?m\.?(?![a-z])", re.IGNORECASE)
_CODE = re.compile(r"\b([A-Z]{1,4})-?(\d{2,5})\b")
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(rf"\b({_MONTH}) (\d{{1,2}})\b")
_DECIMAL = re.compile(r"\b(\d[\d,]*)\.(\d+)\b")
_WHOLE = re.compile(r"\d[\d,]*")
_CAPITALS = re.compile(r"\b[A-Z]{2,4}\b")
_NOT_WORD = re.compile(r"[^a-z' ]+")
_LOOSE_APOSTROPHE = re.compile(r"(?<![a-z])'|'(?![a-z])")
# Acronyms that are pronounced as a word.
_SAID_AS_WORDS = frozenset({"PIN", "LED", "OK", "NASA", "RAM", "GIF", "OR", "AND", "NOT", "IF", "IN", "IS", "NO"})


def spoken(text: str, rng: random.Random) -> str:
    """Return the spoken words, made of a-z, apostrophes inside words and single spaces, or "" if nothing is left."""
    text = text.replace("’", "'").replace("e.g.", "for example").replace("i.e.", "that is")
    text = _MONEY.sub(lambda m: f" {_money(int(m[1].replace(',', '')), m[2], rng)} ", text)
    text = _TIME.sub(lambda m: f" {clock_time(int(m[1]), int(m[2] or 0))} {m[3].lower()} m ", text)
    text = _DATE.sub(lambda m: f"{m[1]} {ordinal(int(m[2]))}", text)
    text = _CODE.sub(lambda m: f" {letters(m[1])} {code_digits(m[2], rng)} ", text)
    text = _ORDINAL.sub(lambda m: ordinal(int(m[1])), text)
    text = _DECIMAL.sub(lambda m: f" {cardinal(int(m[1].replace(',', '')))} point {digit_by_digit(m[2])} ", text)
    text = _WHOLE.sub(lambda m: f" {cardinal(int(m[0].replace(',', '')), rng)} ", text)
    text = _CAPITALS.sub(lambda m: m[0] if m[0] in _SAID_AS_WORDS else letters(m[0]), text)
    for sign, words in _SIGNS.items():
        text = text.replace(sign, words)
    text = _NOT_WORD.sub(" ", text.lower())
    return " ".join(_LOOSE_APOSTROPHE.sub(" ", text).split())


@lru_cache(maxsize=4096)
def _words(number: int) -> str:
    return " ".join(str(num2words(number)).replace("-", " ").replace(",", " ").split())


def cardinal(number: int, rng: random.Random | None = None) -> str:
    """Return "two hundred and forty nine". With `rng` the "and" is omitted half of the time, as in American usage."""
    words = _words(number)
    return words.replace(" and ", " ") if rng is not None and rng.random() < 0.5 else words


def ordinal(number: int) -> str:
    """Return "twenty first"."""
    return str(num2words(number, to="ordinal")).replace("-", " ").replace(",", "")


def digit_by_digit(digits: str, zero: str = "zero") -> str:
    """Return "one zero four two"; `zero` may be "oh"."""
    return " ".join(zero if digit == "0" else _words(int(digit)) for digit in digits)


def in_pairs(digits: str) -> str:
    """Return "ten forty two" for 1042 and "fourteen oh five" for 1405.

    With an odd count, the first digit stands alone.
    """
    first = [digits[0]] if len(digits) % 2 else []
    pairs = first + [digits[at : at + 2] for at in range(len(first), len(digits), 2)]
    said: list[str] = []
    for pair in pairs:
        if pair == "00":
            said.append("hundred" if said else "zero zero")
        elif len(pair) == 2 and pair[0] == "0":
            said.append(f"oh {_words(int(pair[1]))}")
        else:
            said.append(_words(int(pair)))
    return " ".join(said)


def code_digits(digits: str, rng: random.Random) -> str:
    """Return the digits of a code in one of the ways in which people read codes aloud."""
    way = rng.random()
    if way < 0.35:
        return digit_by_digit(digits, rng.choice(("zero", "oh")))
    if way < 0.75 or digits[0] == "0":
        return in_pairs(digits)
    return cardinal(int(digits), rng)


def letters(text: str) -> str:
    """Return letters one by one: "f h"."""
    return " ".join(text.lower())


def clock_time(hour: int, minute: int) -> str:
    """Return "two", "two thirty" or "two oh five"."""
    if minute == 0:
        return _words(hour)
    return f"{_words(hour)} {'oh ' if minute < 10 else ''}{_words(minute)}"


def _money(dollars: int, cents: str | None, rng: random.Random) -> str:
    said = cardinal(dollars, rng)
    unit = "dollar" if dollars == 1 else "dollars"
    if cents is None or cents == "00":
        return f"{said} {unit}"
    small = _words(int(cents))
    return rng.choice((f"{said} {small}", f"{said} {unit} and {small} cents", f"{said} {unit} {small}"))
