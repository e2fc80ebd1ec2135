import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.language.en.clauses import ClauseSplitter

pytestmark = pytest.mark.unit


def split(text: str, step: int = 1) -> list[str]:
    splitter = ClauseSplitter()
    clauses = []
    for start in range(0, len(text), step):
        clauses += splitter.feed(text[start : start + step])
    return clauses + splitter.flush()


def test_splitter_cuts_first_clause_at_a_comma() -> None:
    assert (
        split("You can return it within 30 days, unused and with the receipt.")[0]
        == "You can return it within 30 days,"
    )


def test_splitter_keeps_a_short_opening_with_what_follows() -> None:
    assert split("Yes, we do ship there. It takes a week.") == ["Yes, we do ship there.", " It takes a week."]


@pytest.mark.parametrize("text", ["It costs $1,200.50 in all", "Open 9:30 to 5", "Ask Dr. Lee e.g. at 9 a.m. sharp"])
def test_splitter_leaves_numbers_and_abbreviations_whole(text: str) -> None:
    assert split(text) == [text]


def test_splitter_cuts_text_without_marks_at_a_space() -> None:
    clauses = split("word " * 60)
    assert all(len(clause) <= 120 for clause in clauses)
    assert len(clauses) > 2


@given(st.text(alphabet="ab ,.!?:;-\n1", max_size=400), st.integers(1, 7))
def test_splitter_loses_nothing_but_trailing_space(text: str, step: int) -> None:
    assert "".join(split(text, step)).rstrip() == text.rstrip()


@given(st.text(alphabet="abc ,.", max_size=300))
def test_splitter_gives_the_same_clauses_for_any_chunking(text: str) -> None:
    assert split(text, 1) == split(text, 50)
