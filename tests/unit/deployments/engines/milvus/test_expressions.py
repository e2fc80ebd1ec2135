from __future__ import annotations

import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.milvus.expressions import (
    DAY_S,
    MAX_SOURCES,
    RowShape,
    about_subject,
    expired,
    from_origin,
    not_from_origin,
    of_documents,
    of_other_tenants,
    of_tenant,
    with_keys,
)
from deployments.engines.milvus.expressions import row_filter as filter_of
from deployments.engines.milvus.fields import Field
from pipelines.errors import EngineError
from pipelines.ports import FieldCondition, PassageFilter

pytestmark = pytest.mark.unit

FIELDS = {
    "category": Field("text", "text_1"),
    "since": Field("date", "text_2"),
    "open": Field("flag", "text_3"),
    "price": Field("number", "number_1"),
}
row_filter = partial(filter_of, shape=RowShape(has_expiry=False, fields=FIELDS), now_s=0.0)


def condition(field: str, operator: str, *values: str) -> PassageFilter:
    return PassageFilter(fields=(FieldCondition(field, operator, values),))


def test_expired_rows_are_left_out_by_an_expression_that_is_the_same_all_day() -> None:
    morning, evening = (filter_of("alpha", PassageFilter(), RowShape(), 10 * DAY_S + s) for s in (1, DAY_S - 1))
    assert morning == evening == f'tenant == "alpha" and (expires_at == 0 or expires_at > {10 * DAY_S})'


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (condition("category", "==", 'a "b" \\'), r'(text_1 != "" and text_1 == "a \"b\" \\")'),
        (condition("category", "!=", "a"), '(text_1 != "" and text_1 != "a")'),
        (condition("category", "in", "a", "b"), 'text_1 in ["a", "b"]'),
        (condition("since", ">=", "2026-01-31"), '(text_2 != "" and text_2 >= "2026-01-31")'),
        (condition("open", "==", "Yes"), '(text_3 != "" and text_3 == "true")'),
        (condition("price", "<", "1e2"), "(number_1 > -1e+308 and number_1 < 100.0)"),
        (condition("price", "in", "1", "2.5"), "number_1 in [1.0, 2.5]"),
    ],
)
def test_condition_is_of_a_column_and_literals_of_the_field_s_type(only: PassageFilter, expected: str) -> None:
    assert row_filter("alpha", only) == f'tenant == "alpha" and {expected}'


@pytest.mark.parametrize(
    ("only", "reason"),
    [
        (condition("brand", "==", "x"), "does not declare"),
        (condition("text_1", "==", "x"), "does not declare"),
        (condition("price", "==", "cheap"), "not a number"),
        (condition("price", "==", "nan"), "not a number"),
        (condition("price", "==", "1 or 1==1"), "not a number"),
        (condition("since", "==", "yesterday"), "not a date"),
        (condition("open", "==", "maybe"), "not true or false"),
        (condition("category", "<", "a"), "has no order"),
        (condition("category", "or", "a"), "a condition needs one of"),
        (condition("category", "==", "a", "b"), "a condition needs one of"),
        (condition("category", "in"), "a condition needs one of"),
        (condition("category", "==", "a\nb"), "control character"),
        (condition("category", "==", "x" * 300), "at most 256 bytes"),
    ],
)
def test_condition_that_is_none_is_refused(only: PassageFilter, reason: str) -> None:
    with pytest.raises(EngineError, match=reason) as caught:
        row_filter("alpha", only)
    assert not caught.value.retryable


@given(st.sampled_from([*FIELDS, "x", 'tenant == "b" or text_1']), st.text(max_size=8), st.text(max_size=40))
def test_no_text_of_a_condition_is_outside_of_a_literal(field: str, operator: str, value: str) -> None:
    try:
        expression = row_filter("alpha", condition(field, operator, value))
    except EngineError:
        return
    rest = expression.removeprefix('tenant == "alpha" and ')
    literal = r'(?:"(?:[^"\\]|\\.)*"|-?[0-9.e+-]+)'
    assert re.fullmatch(rf"\(\w+ (?:!=|>) {literal} and \w+ (?:==|!=|[<>]=?) {literal}\)|\w+ in \[{literal}\]", rest)


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


@pytest.mark.parametrize("text", ['" or tenant != "', "", "ABC", "12 34", "0x1", "1\n"])
def test_keys_and_digests_are_hexadecimal(text: str) -> None:
    for make in (lambda: with_keys(["0a", text]), lambda: of_documents([text]), lambda: about_subject(text)):
        with pytest.raises(EngineError, match="not hexadecimal"):
            make()


def test_conditions_of_jobs_come_after_the_tenant() -> None:
    assert of_tenant("alpha", of_documents(["0a", "ff"]), not_from_origin('a "b"')) == (
        'tenant == "alpha" and doc in ["0a", "ff"] and origin != "a \\"b\\""'
    )
    assert of_tenant("alpha", about_subject("0a")) == 'tenant == "alpha" and subject == "0a"'
    assert of_tenant("alpha", from_origin("source")) == 'tenant == "alpha" and origin == "source"'
    assert of_tenant("alpha", expired(9.7)) == 'tenant == "alpha" and expires_at > 0 and expires_at <= 9'
    assert of_other_tenants("alpha") == 'not (tenant == "alpha")'
