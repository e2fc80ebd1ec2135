"""Every filter expression that is sent to Milvus. Nothing else in the product writes one.

External text can enter an expression in three ways, each of which is checked here: the name of a tenant (letters,
digits and `_.-`), keys and digests (hexadecimal), and literals (quoted, without control characters). Only this module
can create an `Expression`. The stores accept no other text, and prepend the tenant's filter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NewType

from deployments.engines.milvus.errors import ENGINE
from deployments.engines.milvus.fields import NO_NUMBER, Field, stored_value
from pipelines.errors import EngineError
from pipelines.ports import FieldCondition, PassageFilter

Expression = NewType("Expression", str)
"""A filter expression of Milvus, made by one of the functions here."""

EVERY_ROW = Expression('pk != ""')
MAX_SOURCES = 100
DAY_S = 86_400
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ORDERED = frozenset({"<", "<=", ">", ">="})
_OPERATORS = frozenset({"==", "!=", "in"}) | _ORDERED


@dataclass(frozen=True, slots=True)
class RowShape:
    """What a collection's rows can be filtered by.

    Attributes:
        has_expiry: whether rows record when they expire; those written by the first releases do not.
        fields: the fields that the tenant has declared, by name.
    """

    has_expiry: bool = True
    fields: Mapping[str, Field] = field(default_factory=dict)


def check_tenant(tenant: str) -> None:
    """Refuse a tenant name that could break out of an expression or a path.

    Raises:
        EngineError: the name has characters that are not allowed (not retryable).
    """
    if not _TENANT.fullmatch(tenant):
        raise _refused("the tenant name has characters that are not allowed")


def of_tenant(tenant: str, *only: Expression) -> Expression:
    """Return the expression for a tenant's rows, or for those that meet all further conditions."""
    check_tenant(tenant)
    return Expression(" and ".join([f'tenant == "{tenant}"', *only]))


def of_other_tenants(tenant: str) -> Expression:
    """Return the expression for the rows of all other tenants."""
    return Expression(f"not ({of_tenant(tenant)})")


def with_keys(keys: Sequence[str]) -> Expression:
    """Return the expression for rows by their primary keys."""
    return Expression(f"pk in {_hex_list(keys)}")


def of_documents(docs: Sequence[str]) -> Expression:
    """Return the expression for the rows of documents, by the hashes of their ids."""
    return Expression(f"doc in {_hex_list(docs)}")


def about_subject(digest: str) -> Expression:
    """Return the expression for the rows about a person, by the person's digest."""
    return Expression(f'subject == "{_hexadecimal(digest)}"')


def from_origin(origin: str) -> Expression:
    """Return the expression for the rows that this origin wrote."""
    return Expression(f"origin == {_quoted(origin)}")


def not_from_origin(origin: str) -> Expression:
    """Return the expression for the rows that another origin wrote."""
    return Expression(f"origin != {_quoted(origin)}")


def expired(now_s: float) -> Expression:
    """Return the expression for rows that have expired."""
    return Expression(f"expires_at > 0 and expires_at <= {int(now_s)}")


def row_filter(tenant: str, only: PassageFilter, shape: RowShape, now_s: float) -> Expression:
    """Return the expression for a tenant's rows that have not expired and meet the conditions.

    Documents expire at the beginning of a day (UTC), so the expression stays the same, and compiled, all day.

    Raises:
        EngineError: the tenant's name, a source, a date or a field's condition is malformed (not retryable).
    """
    conditions: list[str] = []
    if shape.has_expiry:
        conditions.append(f"(expires_at == 0 or expires_at > {int(now_s) // DAY_S * DAY_S})")
    if only.sources:
        if len(only.sources) > MAX_SOURCES:
            raise _refused(f"a filter may name at most {MAX_SOURCES} sources")
        conditions.append(f"source in [{', '.join(_quoted(source) for source in only.sources)}]")
    if only.updated_from:
        conditions.append(f"updated_at >= {_quoted(_iso_date(only.updated_from))}")
    if only.updated_until:
        # Dates are compared as text, and a passage of that day may have a time after the date ("2026-01-31T09:00").
        conditions.append(f"updated_at <= {_quoted(_iso_date(only.updated_until) + 'T99')}")
    conditions += [_field_condition(each, shape.fields) for each in only.fields]
    return of_tenant(tenant, *map(Expression, conditions))


def _field_condition(condition: FieldCondition, fields: Mapping[str, Field]) -> str:
    """Return the expression of one condition: our column, our operator, and literals of the field's type."""
    if condition.field not in fields:
        known = ", ".join(f"{name} ({each.type})" for name, each in fields.items()) or "none"
        raise _refused(f"a filter names a field that the dataset does not declare; declared are: {known}")
    declared, operator = fields[condition.field], condition.operator
    if operator not in _OPERATORS or not 1 <= len(condition.values) <= (MAX_SOURCES if operator == "in" else 1):
        raise _refused(
            f"{condition.field}: a condition needs one of == != < <= > >= with one value, or in with at least one"
        )
    if operator in _ORDERED and declared.type in {"text", "flag"}:
        raise _refused(f"{condition.field}: a {declared.type} has no order; use == or !=")
    literals = [_literal(condition.field, declared, value) for value in condition.values]
    column = declared.column
    if operator == "in":
        return f"{column} in [{', '.join(literals)}]"
    # A row without the field must not match "less than" or "different from".
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


def _hex_list(values: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{_hexadecimal(value)}"' for value in values) + "]"


def _hexadecimal(text: str) -> str:
    if not _HEXADECIMAL.fullmatch(text):
        raise _refused("a key or a digest is not hexadecimal")
    return text


def _iso_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise _refused("a filter's date is not of the form 2026-01-31") from None


def _refused(why: str) -> EngineError:
    return EngineError(ENGINE, why, retryable=False)
