from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.milvus_filters import MAX_SOURCES, row_filter
from pipelines.errors import EngineError
from pipelines.ports import PassageFilter

pytestmark = pytest.mark.unit


def test_every_filter_begins_with_the_tenant() -> None:
    assert row_filter("alpha", PassageFilter()) == 'tenant == "alpha"'
    only = PassageFilter(("faq.md", "a b.csv"), "2026-01-31", "2026-02-28")
    assert row_filter("alpha", only) == (
        'tenant == "alpha" and source in ["faq.md", "a b.csv"] '
        'and updated_at >= "2026-01-31" and updated_at <= "2026-02-28T99"'
    )


@given(st.text(max_size=30))
def test_source_stays_inside_its_quotes(source: str) -> None:
    try:
        expression = row_filter("alpha", PassageFilter((source,)))
    except EngineError:
        assert re.search(r"[\x00-\x1f\x7f]", source)
        return
    literal = expression.removeprefix('tenant == "alpha" and source in [').removesuffix("]")
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', literal, re.DOTALL)
    assert literal[1:-1].replace('\\"', '"').replace("\\\\", "\\") == source or "\\" in source


@pytest.mark.parametrize("date", ['2026" or tenant != "', "2026-13-01", "yesterday", "20260131x"])
def test_date_that_is_none_is_refused(date: str) -> None:
    with pytest.raises(EngineError):
        row_filter("alpha", PassageFilter(updated_from=date))
    with pytest.raises(EngineError):
        row_filter("alpha", PassageFilter(updated_until=date))


def test_too_many_sources_are_refused() -> None:
    with pytest.raises(EngineError):
        row_filter("alpha", PassageFilter(tuple(map(str, range(MAX_SOURCES + 1)))))
