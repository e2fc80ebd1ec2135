"""What `voxray retrieve --where` takes."""

from __future__ import annotations

import pytest

from ingest_jobs.measuring.retrieval.command import condition_of
from pipelines.errors import ConfigError
from pipelines.ports import FieldCondition

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("category=tents", FieldCondition("category", "==", ("tents",))),
        ("category == two words ", FieldCondition("category", "==", ("two words",))),
        ("price<=100", FieldCondition("price", "<=", ("100",))),
        ("price != 5", FieldCondition("price", "!=", ("5",))),
        ("brand in Acme, Fell", FieldCondition("brand", "in", ("Acme", "Fell"))),
        ("brand=a<b", FieldCondition("brand", "==", ("a<b",))),
    ],
)
def test_condition_is_read(text: str, expected: FieldCondition) -> None:
    assert condition_of(text) == expected


@pytest.mark.parametrize("text", ["", "price", "price<", "=5", "a b = 5", "price ~ 5"])
def test_text_that_is_no_condition_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="write a condition as category=tents"):
        condition_of(text)
