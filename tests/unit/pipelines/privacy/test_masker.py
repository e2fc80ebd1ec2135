"""Personal data leave a text, everything else stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ports import Redactor
from pipelines.privacy.masker import Masker, MaskingPolicy

pytestmark = pytest.mark.unit

MASKER = Masker(MaskingPolicy())


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to joe.d+x@mail.example.com.", "Write to [email]."),
        ("Call (415) 555-2671 or +44 20 7946 0958.", "Call [phone] or [phone]."),
        ("Card 4111 1111 1111 1111, please.", "Card [card], please."),
        ("IBAN DE89 3704 0044 0532 0130 00 is ours.", "IBAN [iban] is ours."),
        ("SSN 536-90-4399.", "SSN [national id]."),
    ],
)
def test_value_is_replaced_by_its_kind(text: str, masked: str) -> None:
    assert MASKER.mask(text).text == masked


@pytest.mark.parametrize(
    "text",
    [
        "Order FH-1042 costs $249.00.",
        "The card number 4111 1111 1111 1112 fails its check digit.",
        "Invoice 2026-0001-7788.",
        "ISBN 978-3-16-148410-0 weighs 1.250 kg.",
        "Open 9 to 5, Monday to Friday.",
    ],
)
def test_what_is_no_personal_datum_stays(text: str) -> None:
    assert MASKER.mask(text).count == 0


def test_allowed_values_and_other_kinds_stay() -> None:
    masker = Masker(MaskingPolicy(kinds=("email",), allow=(r"@ours\.example$",)))
    text = "help@ours.example, joe@other.example, (415) 555-2671"
    assert masker.mask(text).text == "help@ours.example, [email], (415) 555-2671"


def test_hash_keeps_equal_values_equal_and_remove_leaves_nothing() -> None:
    hashed = Masker(MaskingPolicy(replacement="hash")).mask("a@b.example c@d.example A@b.example").text.split("] ")
    assert hashed[0] == hashed[2].rstrip("]")
    assert hashed[0] != hashed[1]
    assert Masker(MaskingPolicy(replacement="remove")).mask("to a@b.example.").text == "to ."


@given(st.text(max_size=200))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = MASKER.mask(text).text
    assert MASKER.mask(once).text == once


def test_masker_makes_text_fit_to_be_stored() -> None:
    redactor: Redactor = MASKER
    assert redactor.redact("I am joe@example.com.") == "I am [email]."
