"""What a search may see, as a filter expression. No text from outside becomes part of an expression unquoted.

Every expression begins with the tenant's, and leaves out what has expired: `row_filter` is what all searches use,
`tenant_filter` the only place that writes a tenant's name into one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from deployments.engines.milvus.fields import NO_NUMBER, Field, stored_value
from deployments.engines.milvus.store import ENGINE, tenant_filter
from pipelines.errors import EngineError
from pipelines.ports import FieldCondition, PassageFilter

MAX_SOURCES = 100
DAY_S = 86_400
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ORDERED = frozenset({"<", "<=", ">", ">="})
_OPERATORS = frozenset({"==", "!=", "in"}) | _ORDERED


@dataclass(frozen=True, slots=True)
class RowShape:
    """What a collection's rows can be asked for.

    Attributes:
        has_expiry: rows tell when they expire; those of the first releases do not.
        fields: what the tenant has declared, by name.
    """

    has_expiry: bool = True
    fields: Mapping[str, Field] = field(default_factory=dict)


def row_filter(tenant: str, only: PassageFilter, shape: RowShape, now_s: float) -> str:
    """Return the expression for a tenant's rows that have not expired and meet the conditions.

    Documents expire at the beginning of a day (UTC), so the expression is the same all day, and stays compiled.

    Raises:
        EngineError: the tenant's name, a source, a date or a field's condition is not one (not retryable).
    """
    conditions = [tenant_filter(tenant)]
    if shape.has_expiry:
        conditions.append(f"(expires_at == 0 or expires_at > {int(now_s) // DAY_S * DAY_S})")
    if only.sources:
        if len(only.sources) > MAX_SOURCES:
            raise _refused(f"a filter names at most {MAX_SOURCES} sources")
        conditions.append(f"source in [{', '.join(_quoted(source) for source in only.sources)}]")
    if only.updated_from:
        conditions.append(f"updated_at >= {_quoted(_iso_date(only.updated_from))}")
    if only.updated_until:
        # A date compares as text; a passage of that day may carry a time after it ("2026-01-31T09:00").
        conditions.append(f"updated_at <= {_quoted(_iso_date(only.updated_until) + 'T99')}")
    return " and ".join([*conditions, *(_field_condition(each, shape.fields) for each in only.fields)])


def _field_condition(condition: FieldCondition, fields: Mapping[str, Field]) -> str:
    """Return the expression of one condition: a column of ours, an operator of ours, literals of the field's type."""
    if condition.field not in fields:
        known = ", ".join(f"{name} ({each.type})" for name, each in fields.items()) or "none"
        raise _refused(f"a filter names a field that the dataset does not declare; declared are: {known}")
    declared, operator = fields[condition.field], condition.operator
    if operator not in _OPERATORS or not 1 <= len(condition.values) <= (MAX_SOURCES if operator == "in" else 1):
        raise _refused(f"{condition.field}: a condition has one of == != < <= > >= and a value, or in and some")
    if operator in _ORDERED and declared.type in {"text", "flag"}:
        raise _refused(f"{condition.field}: {declared.type} has no order; use == or !=")
    literals = [_literal(condition.field, declared, value) for value in condition.values]
    column = declared.column
    if operator == "in":
        return f"{column} in [{', '.join(literals)}]"
    # A row without the field is neither less nor different.
    is_there = f"{column} > {NO_NUMBER}" if declared.type == "number" else f'{column} != ""'
    return f"({is_there} and {column} {operator} {literals[0]})"


def _literal(name: str, declared: Field, value: str) -> str:
    try:
        stored = stored_value(declared.type, value)
    except ValueError as error:
        raise _refused(f"{name}: a value is not {error}") from None
    return _quoted(stored) if isinstance(stored, str) else repr(stored)


def _quoted(text: str) -> str:
    """Return a string literal of Milvus's expression language."""
    if _CONTROL.search(text):
        raise _refused("a filter value holds a control character")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _iso_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise _refused("a filter's date is not of the form 2026-01-31") from None


def _refused(why: str) -> EngineError:
    return EngineError(ENGINE, why, retryable=False)
