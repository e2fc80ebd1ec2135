"""The data fields that searches may be filtered by, each stored in a column of the collection.

Tenants share a collection, and each declares different fields. The collection therefore has generic columns for four
texts and four numbers, and records for each tenant (in a property, `voxray.fields.TENANT`) which field lies in which
column. Plain columns are used instead of one JSON column because milvus-lite compares a column as a whole but JSON row
by row (2 ms against 90 ms for 5,000 rows).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pipelines.errors import ConfigError

FieldType = Literal["text", "number", "date", "flag"]
FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
FIELDS_PROPERTY = "voxray.fields."
MAX_TEXT_BYTES = 256
TEXT_COLUMNS = tuple(f"text_{n}" for n in range(1, 5))
NUMBER_COLUMNS = tuple(f"number_{n}" for n in range(1, 5))
# Stored where a row lacks the number. It is below every number that a filter may name.
NO_NUMBER = -1e308
FIELD_DEFAULTS: dict[str, str | float] = {
    **dict.fromkeys(TEXT_COLUMNS, ""),
    **dict.fromkeys(NUMBER_COLUMNS, NO_NUMBER),
}
_FLAGS = {"true": "true", "yes": "true", "1": "true", "false": "false", "no": "false", "0": "false"}


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field: the type of its values, and the column that holds them."""

    type: FieldType
    column: str


def lay_out_fields(declared: Mapping[str, FieldType]) -> dict[str, Field]:
    """Assign a column to each declared field, always the same for the same declaration.

    Raises:
        ConfigError: a name is malformed, or there are more fields than columns.
    """
    free = {"number": list(NUMBER_COLUMNS), "text": list(TEXT_COLUMNS)}
    found: dict[str, Field] = {}
    for name, kind in sorted(declared.items()):
        if not FIELD_NAME.fullmatch(name):
            raise ConfigError(
                f"fields.{name}: a field's name may have at most 32 characters: lower-case letters, digits and _"
            )
        columns = free["number" if kind == "number" else "text"]
        if not columns:
            raise ConfigError(
                f"fields.{name}: a dataset may declare at most 4 fields of numbers and 4 of text, dates and flags"
            )
        found[name] = Field(kind, columns.pop(0))
    return found


def stored_value(kind: FieldType, text: str) -> str | float:
    """Return a value in the form in which its column stores it.

    Raises:
        ValueError: the value does not have the type; the message says what it should be.
    """
    text = text.strip()
    if kind == "number":
        number = _number(text)
        if not -1e300 < number < 1e300:
            raise ValueError("a number")
        return number
    if kind == "flag":
        if text.lower() not in _FLAGS:
            raise ValueError("true or false")
        return _FLAGS[text.lower()]
    if kind == "date":
        return _date(text)
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise ValueError(f"text of at most {MAX_TEXT_BYTES} bytes")
    return text


def as_property(fields: Mapping[str, Field]) -> str:
    """Return a layout as the property of a collection."""
    return json.dumps({name: [field.type, field.column] for name, field in fields.items()})


def of_property(text: str) -> dict[str, Field]:
    """Return the layout that `as_property` wrote; {} for none."""
    return {name: Field(kind, column) for name, (kind, column) in json.loads(text or "{}").items()}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise ValueError("a date like 2026-01-31") from None
