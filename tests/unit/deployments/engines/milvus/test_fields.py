from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.milvus.fields import FieldType, as_property, lay_out_fields, of_property, stored_value
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit

TYPES = st.sampled_from(["text", "date", "flag"])
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)


@given(st.dictionaries(NAMES, TYPES, max_size=4), st.lists(NAMES, max_size=4, unique=True))
def test_each_field_has_a_column_of_its_own_whatever_the_order(texts: dict[str, FieldType], numbers: list[str]) -> None:
    declared: dict[str, FieldType] = {**texts, **dict.fromkeys(numbers, "number")}
    if len([kind for kind in declared.values() if kind != "number"]) > 4:
        return
    fields = lay_out_fields(declared)
    assert len({field.column for field in fields.values()}) == len(declared)
    assert lay_out_fields(dict(reversed(declared.items()))) == fields
    assert of_property(as_property(fields)) == fields


@pytest.mark.parametrize("declared", [{"Price": "number"}, {"a b": "text"}, {f"f{n}": "text" for n in range(5)}])
def test_declaration_that_has_no_place_is_refused(declared: dict[str, FieldType]) -> None:
    with pytest.raises(ConfigError, match=r"fields\."):
        lay_out_fields(declared)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("number", " 5.50 ", 5.5),
        ("date", "2026-01-31T09:00", "2026-01-31"),
        ("flag", "NO", "false"),
        ("text", "a", "a"),
    ],
)
def test_value_is_stored_as_its_type_says(kind: FieldType, text: str, expected: str | float) -> None:
    assert stored_value(kind, text) == expected
