"""Generates what callers say from a grammar of sentences and slots (slots.yaml), in spoken form.

`{slot}` is filled from a list, or by a rule of this module (order numbers, spelled letters, dates, money, names);
`[a|b|]` selects one of its parts, which may contain slots. The same seed gives the same sentences.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from ingest_jobs.speech.corpus.spoken_form import (
    cardinal,
    clock_time,
    code_digits,
    digit_by_digit,
    in_pairs,
    letters,
    ordinal,
    spoken,
)

_SLOTS_FILE = Path(__file__).with_name("slots.yaml")
_PRODUCTS_FILE = Path(__file__).parents[2] / "sample_data" / "records" / "products.csv"
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
# Relative frequency of each group.
_GROUP_WEIGHTS = {
    "order": 20, "product": 20, "policy": 17, "identity": 15, "yes_no": 5, "small_talk": 7, "everyday": 14,
    "company": 2,
}  # fmt: skip
_OPENING_SHARE, _HESITATION_SHARE, _POLITE_SHARE, _SENTENCE_PAIR_SHARE = 0.08, 0.08, 0.06, 0.06


@dataclass(frozen=True, slots=True)
class Grammar:
    """Sentences by group, and the values of their slots."""

    sentences: dict[str, list[str]]
    slots: dict[str, list[str]]

    @classmethod
    def load(cls, slots_file: Path = _SLOTS_FILE, products_file: Path = _PRODUCTS_FILE) -> Grammar:
        """Read the shipped grammar, with the product names of a data set.

        Raises:
            OSError, KeyError, yaml.YAMLError: a file is missing or wrong.
        """
        content = yaml.safe_load(slots_file.read_text("utf-8"))
        with products_file.open(encoding="utf-8", newline="") as file:
            products = [row["name"] for row in csv.DictReader(file)]
        return cls(content["sentences"], {**content["slots"], "product": _product_names(products)})

    def draw(self, rng: random.Random) -> str:
        """Return one utterance in spoken form, sometimes with a greeting, a hesitation or a second sentence."""
        said = self._sentence(rng)
        if rng.random() < _SENTENCE_PAIR_SHARE:
            said = f"{said} {rng.choice(('and', 'also', 'but', ''))} {self._sentence(rng)}"
        if rng.random() < _OPENING_SHARE:
            said = f"{rng.choice(self.slots['opening'])} {said}"
        if rng.random() < _HESITATION_SHARE:
            words = said.split()
            words.insert(rng.randrange(len(words)), rng.choice(self.slots["hesitation"]))
            said = " ".join(words)
        if rng.random() < _POLITE_SHARE:
            said = f"{said} {rng.choice(self.slots['politeness'])}"
        return " ".join(said.split())

    def _sentence(self, rng: random.Random) -> str:
        group = rng.choices(list(_GROUP_WEIGHTS), list(_GROUP_WEIGHTS.values()))[0]
        return spoken(self.expand(rng.choice(self.sentences[group]), rng), rng)

    def expand(self, pattern: str, rng: random.Random) -> str:
        """Return the pattern with its choices made and its slots filled."""
        while found := _CHOICE.search(pattern):
            pattern = pattern[: found.start()] + rng.choice(found[1].split("|")) + pattern[found.end() :]
        return _SLOT.sub(lambda m: self._fill(m[1], rng), pattern)

    def _fill(self, slot: str, rng: random.Random) -> str:
        if slot in self.slots:
            return rng.choice(self.slots[slot])
        return _RULES[slot](self, rng)


def _product_names(products: list[str]) -> list[str]:
    """Return the full names and those without the kind of product: "Larkspur Two tent" and "the Larkspur Two"."""
    names = []
    for name in products:
        names.append(name)
        words = name.split()
        kinds = sum(word[0].islower() for word in words)
        if kinds and len(words) > kinds:
            names.append(" ".join(words[: len(words) - kinds]))
            names.append(f"{words[0]} {words[-1]}")
    return sorted(set(names))


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def _order(_: Grammar, rng: random.Random) -> str:
    number = f"1{_digits(rng, 3)}" if rng.random() < 0.5 else str(rng.randint(1000, 9999))
    prefix = rng.choices(("", "f h ", "f h dash "), (5, 4, 1))[0]
    return prefix + code_digits(number, rng)


def _digit_run(_: Grammar, rng: random.Random) -> str:
    digits = _digits(rng, rng.randint(2, 7))
    return in_pairs(digits) if rng.random() < 0.3 else digit_by_digit(digits, rng.choice(("zero", "oh")))


def _phone(_: Grammar, rng: random.Random) -> str:
    zero = rng.choice(("zero", "oh"))
    return digit_by_digit(_digits(rng, rng.choice((7, 10))), zero)


def _spelled(_: Grammar, rng: random.Random) -> str:
    return letters("".join(rng.choice(_ALPHABET) for _ in range(rng.randint(1, 4))))


def _spelling(grammar: Grammar, rng: random.Random) -> str:
    return letters(rng.choice(grammar.slots[rng.choice(("first_name", "last_name"))]))


def _full_name(grammar: Grammar, rng: random.Random) -> str:
    first, last = rng.choice(grammar.slots["first_name"]), rng.choice(grammar.slots["last_name"])
    return f"{first} {last}" if rng.random() < 0.8 else rng.choice((first, last))


def _date(grammar: Grammar, rng: random.Random) -> str:
    month, day = rng.choice(grammar.slots["month"]), ordinal(rng.randint(1, 31))
    if rng.random() < 0.2:
        return f"the {day} of {month}"
    return f"{month} {day}" if rng.random() < 0.8 else f"the {day}"


def _time(_: Grammar, rng: random.Random) -> str:
    minute = rng.choice((0, 0, 0, 15, 30, 45, 5, 10, 20, 40, 50, 55))
    said = clock_time(rng.randint(1, 12), minute)
    return said + rng.choice(("", " o'clock" if minute == 0 else "", " a m", " p m"))


def _money(_: Grammar, rng: random.Random) -> str:
    dollars = rng.choice((rng.randint(1, 20), rng.randint(1, 99), rng.randint(100, 999), rng.randint(1000, 4000)))
    cents = rng.choice(("", "", f".{rng.randint(1, 99):02}", ".95", ".50"))
    return f"${dollars}{cents}"


def _number(_: Grammar, rng: random.Random) -> str:
    top = rng.choice((10, 20, 100, 100, 1000, 10_000, 1_000_000))
    return cardinal(rng.randint(0, top), rng)


def _count(_: Grammar, rng: random.Random) -> str:
    return cardinal(rng.choice((rng.randint(1, 12), rng.randint(2, 100), rng.choice((200, 250, 365, 500, 1000)))), rng)


def _address(grammar: Grammar, rng: random.Random) -> str:
    digits = str(rng.choice((rng.randint(1, 99), rng.randint(100, 9999))))
    street = f"{rng.choice(grammar.slots['street'])} {rng.choice(grammar.slots['street_kind'])}"
    tail = f" in {rng.choice(grammar.slots['city'])}" if rng.random() < 0.4 else ""
    return f"{in_pairs(digits)} {street}{tail}"


_RULES: dict[str, Callable[[Grammar, random.Random], str]] = {
    "order": _order,
    "digits": _digit_run,
    "four": lambda _, rng: digit_by_digit(_digits(rng, 4), rng.choice(("zero", "oh"))),
    "pair": lambda _, rng: in_pairs(str(rng.randint(10, 99))),
    "zip": lambda _, rng: digit_by_digit(_digits(rng, 5), rng.choice(("zero", "oh"))),
    "phone": _phone,
    "letter": lambda _, rng: rng.choice(_ALPHABET),
    "spelled": _spelled,
    "spelling": _spelling,
    "spelling_last": lambda grammar, rng: letters(rng.choice(grammar.slots["last_name"])),
    "name": _full_name,
    "date": _date,
    "time": _time,
    "money": _money,
    "number": _number,
    "count": _count,
    "address": _address,
}
