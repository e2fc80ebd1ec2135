from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.nemo.spoken_text import SpokenText, digits_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("where is order one zero four two", "where is order 1042"),
        ("order ten forty two please", "order 1042 please"),
        ("one oh four two", "1042"),
        ("seven oh oh one", "7001"),
        ("oh one more thing", "oh one more thing"),
        ("oh no", "oh no"),
        ("my order is one thousand forty two", "my order is 1042"),
        ("it costs two hundred and forty nine dollars", "it costs 249 dollars"),
        ("on the twenty first of june", "on the 21st of june"),
        ("this one please", "this one please"),
        ("no one is there", "no one is there"),
        ("thirty days or sixty", "30 days or 60"),
        ("Order seven, three, nine.", "Order 7, 3, 9."),
        ("three point five", "3.5"),
        ("", ""),
    ],
)
def test_numbers_are_written_as_digits(spoken: str, written: str) -> None:
    assert digits_of(spoken) == written


def test_a_number_is_not_settled_while_it_may_grow() -> None:
    text = SpokenText(digits=True)
    said: list[str] = []
    told = []
    for word in "order ten forty two please now".split():
        said.append(word)
        told.append(text.write(said))
    assert told == [
        ("order", 0),
        ("order 10", 5),
        ("order 1040", 5),
        ("order 1042", 5),
        ("order 1042 please", 5),
        ("order 1042 please now", 17),
    ]


def test_the_last_word_may_grow_and_a_preview_leaves_no_trace() -> None:
    text = SpokenText(digits=False)
    assert text.write(["four"]) == ("four", 0)
    assert text.preview(["four", "ty"]) == ("four ty", 0)
    assert text.write(["fourteen", "days"]) == ("fourteen days", 8)


_WORDS = st.lists(
    st.sampled_from("one two ten forty hundred thousand and oh a point the order first second please is no".split()),
    max_size=25,
)


@given(_WORDS, st.booleans())
def test_what_is_settled_never_changes_and_the_end_is_the_same_as_at_once(words: list[str], digits: bool) -> None:
    text = SpokenText(digits=digits)
    settled = ""
    for count in range(1, len(words) + 1):
        written, stable = text.write(words[:count])
        assert written.startswith(settled), "a later result took back what was settled"
        assert written[:stable].startswith(settled)
        settled = written[:stable]
    if words:
        whole = digits_of(" ".join(words)) if digits else " ".join(words)
        assert written == whole
