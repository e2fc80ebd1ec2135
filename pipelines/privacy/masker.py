"""Replaces personal data in texts, as a policy demands, before the texts are embedded or stored.

Telephone numbers are found by phonenumbers (Google's rules, country by country); card numbers, IBANs and national ids
by pattern and check digit (python-stdnum), so that an order number is left alone. Names of people are not detected,
because no pattern distinguishes them from names of things. The settings `sentences` and `drop` of a table keep such
columns out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import phonenumbers
from stdnum import iban, luhn
from stdnum.us import ssn

PiiKind = Literal["email", "phone", "card", "iban", "national_id"]
Replacement = Literal["label", "hash", "remove"]
Span = tuple[int, int]
_HASH_CHARS = 8
_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_CARD = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?!\w)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,4})?\b")
_SSN = re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")
# This test is far cheaper than the library, and most texts do not contain seven digits at all.
_MAYBE_PHONE = re.compile(r"\d(?:[ ().\-/]{0,3}\d){6}")


@dataclass(frozen=True, slots=True)
class MaskingPolicy:
    """Which kinds of personal data are replaced, and with what.

    Attributes:
        kinds: the kinds to detect. When empty, nothing is masked.
        replacement: "label" writes "[email]", "hash" maps equal values to equal texts, and "remove" deletes the value.
        region: country assumed for national ids and for telephone numbers without a prefix (ISO 3166, two letters).
        allow: regular expressions for values to keep, such as the company's own numbers.
    """

    kinds: tuple[PiiKind, ...] = ("email", "phone", "card", "iban", "national_id")
    replacement: Replacement = "label"
    region: str = "US"
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Masked:
    """A masked text, with the number of values that were replaced."""

    text: str
    count: int


class Masker:
    """Replaces personal data in texts; a `pipelines.ports.Redactor`.

    It is cheap to make and keeps no state between texts.
    """

    def __init__(self, policy: MaskingPolicy) -> None:
        self._policy = policy
        self._allowed = [re.compile(pattern) for pattern in policy.allow]

    def mask(self, text: str) -> Masked:
        """Return `text` with every value of the policy's kinds replaced; the first kind to match a value labels it."""
        count = 0
        for kind in self._policy.kinds:
            spans = [span for span in _FINDERS[kind](text, self._policy.region) if not self._is_allowed(text, span)]
            for start, end in reversed(spans):
                text = f"{text[:start]}{self._replacement(kind, text[start:end])}{text[end:]}"
            count += len(spans)
        return Masked(text, count)

    def redact(self, text: str) -> str:
        """Return `text` with every value of the policy's kinds replaced."""
        return self.mask(text).text

    def _is_allowed(self, text: str, span: Span) -> bool:
        return any(pattern.search(text[slice(*span)]) for pattern in self._allowed)

    def _replacement(self, kind: str, value: str) -> str:
        if self._policy.replacement == "remove":
            return ""
        label = kind.replace("_", " ")
        if self._policy.replacement == "label":
            return f"[{label}]"
        return f"[{label} {hashlib.sha256(value.lower().encode()).hexdigest()[:_HASH_CHARS]}]"


def _found(pattern: re.Pattern[str], is_valid: Callable[[str], bool]) -> Callable[[str, str], Iterator[Span]]:
    def find(text: str, _region: str) -> Iterator[Span]:
        return (match.span() for match in pattern.finditer(text) if is_valid(match.group()))

    return find


def _phones(text: str, region: str) -> Iterator[Span]:
    if _MAYBE_PHONE.search(text):
        for match in phonenumbers.PhoneNumberMatcher(text, region):
            yield match.start, match.end


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return luhn.is_valid(digits) and len(set(digits)) > 1


_FINDERS: dict[str, Callable[[str, str], Iterator[Span]]] = {
    "email": _found(_EMAIL, lambda _: True),
    "phone": _phones,
    "card": _found(_CARD, _is_card),
    "iban": _found(_IBAN, iban.is_valid),
    "national_id": _found(_SSN, ssn.is_valid),
}
