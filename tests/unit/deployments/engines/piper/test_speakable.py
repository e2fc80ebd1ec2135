from __future__ import annotations

import pytest

from deployments.engines.piper.speakable import spoken_tokens

pytestmark = pytest.mark.unit


def spoken(text: str) -> str:
    return " ".join(token.spoken for token in spoken_tokens(text))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It costs $49.50.", "It costs 49 dollars and 50 cents."),
        ("only $1", "only 1 dollar"),
        ("£2.01", "2 pounds and 1 penny"),
        ("$1,299.00!", "1299 dollars!"),
        ("$5 million.", "5 million dollars."),
        ("order NW-1042 shipped", "order N W, 1 0 4 2 shipped"),
        ("support@northwind.example.", "support at northwind dot example."),
        ("https://northwind.example/returns", "northwind dot example slash returns"),
        ("9am-5pm", "9 A M to 5 P M"),
        ("9:30am", "9 30 A M"),
        ("$10-$20", "10 dollars to 20 dollars"),
        ("2026-03-01", "March 1 2026"),
        ("2026-13-01", "2026-13-01"),
        ("call 1-800-555-0199!", "call 1, 8 0 0, 5 5 5, 0 1 9 9!"),
        ("Dr. Lee's #4", "doctor Lee's number 4"),
        ("**Bold** and/or `code`", "Bold and or code"),
        ("30-day non-refundable 3.5% rate", "30-day non-refundable 3.5% rate"),
        ("one \u2014 two", "one, two"),
    ],
)
def test_written_form_is_said_as_people_say_it(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize("text", ["", "  ", "...", "\U0001f642", "\u2014", "-", "***", "\x00\x07"])
def test_text_without_anything_to_say_gives_no_token(text: str) -> None:
    assert spoken_tokens(text) == []


def test_tokens_point_to_the_ends_of_the_written_words() -> None:
    text = "Pay $5 \U0001f642 now."
    assert [text[: token.end_char] for token in spoken_tokens(text)] == ["Pay", "Pay $5", text]
