"""What a search may see, as a filter expression. No text from outside becomes part of an expression unquoted.

Every expression begins with the tenant's: `row_filter` is what all searches use, `tenant_filter` the only place that
writes a tenant's name into one.
"""

from __future__ import annotations

import re
from datetime import date

from deployments.engines.milvus_store import ENGINE, tenant_filter
from pipelines.errors import EngineError
from pipelines.ports import PassageFilter

MAX_SOURCES = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def row_filter(tenant: str, only: PassageFilter) -> str:
    """Return the expression for a tenant's rows that meet the conditions.

    Raises:
        EngineError: the tenant's name, a source or a date is not one (not retryable).
    """
    conditions = [tenant_filter(tenant)]
    if only.sources:
        if len(only.sources) > MAX_SOURCES:
            raise EngineError(ENGINE, f"a filter names at most {MAX_SOURCES} sources", retryable=False)
        conditions.append(f"source in [{', '.join(_quoted(source) for source in only.sources)}]")
    if only.updated_from:
        conditions.append(f"updated_at >= {_quoted(_iso_date(only.updated_from))}")
    if only.updated_until:
        # A date compares as text; a passage of that day may carry a time after it ("2026-01-31T09:00").
        conditions.append(f"updated_at <= {_quoted(_iso_date(only.updated_until) + 'T99')}")
    return " and ".join(conditions)


def _quoted(text: str) -> str:
    """Return a string literal of Milvus's expression language."""
    if _CONTROL.search(text):
        raise EngineError(ENGINE, "a filter value holds a control character", retryable=False)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _iso_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise EngineError(ENGINE, "a filter's date is not of the form 2026-01-31", retryable=False) from None
