from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.ports import Passage, StageScores
from pipelines.retrieval.duplicates import first_distinct, is_duplicate

pytestmark = pytest.mark.unit

RETURNS = "You may send back unused items within 45 days of delivery, in their box, with the receipt that came along."


def passage(text: str, *, title: str = "Returns", updated_at: str = "", score: float = 1.0) -> Passage:
    return Passage(text, "faq.md", title, score, 0.5, updated_at=updated_at)


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (RETURNS, True),
        (RETURNS.replace("You may", "You can").replace(", in", " in"), True),
        (RETURNS.replace("45", "30"), False),
        (RETURNS.replace("may", "may not"), False),
        (RETURNS.replace("receipt", "receipt from Boulder"), False),
        ("Shipping takes three days.", False),
    ],
)
def test_passages_are_the_same_unless_a_fact_differs(other: str, is_same: bool) -> None:
    assert is_duplicate(passage(RETURNS), passage(other)) is is_same


def test_records_of_one_table_are_not_duplicates() -> None:
    one = passage("Order FH-1042 has shipped and arrives on Friday.", title="Order FH-1042")
    other = passage("Order FH-1043 has shipped and arrives on Friday.", title="Order FH-1043")
    assert not is_duplicate(one, other)


def test_first_keeps_its_place_and_the_newest_its_words() -> None:
    old = Passage(RETURNS, "old.md", "Returns", 2.0, 0.5, updated_at="2024-01-01", stages=StageScores(1, 0.9))
    new = Passage(RETURNS, "new.md", "Returns", 1.0, 0.5, updated_at="2026-01-01", stages=StageScores(2, 0.8))
    kept, left_out = first_distinct([old, new], wanted=3)
    assert [(p.source, p.updated_at, p.score, p.stages.meaning_rank) for p in kept] == [
        ("new.md", "2026-01-01", 2.0, 1)
    ]
    assert left_out == 1


def test_no_more_is_read_than_needed() -> None:
    read: list[str] = []

    def passages() -> Iterator[Passage]:
        for word in ("alpha", "beta", "gamma"):
            read.append(word)
            yield passage(f"The {word} has its own words and nothing else.", title=word)

    kept, left_out = first_distinct(passages(), wanted=2)
    assert [p.title for p in kept] == ["alpha", "beta"]
    assert (read, left_out) == (["alpha", "beta"], 0)
