from __future__ import annotations

import pytest

from ingest_jobs.knowledge.read.sources.patterns import is_wanted

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "include", "exclude", "wanted"),
    [
        ("faq/returns.MD", ["*"], [], True),
        ("faq/returns.md", ["faq/*"], [], True),
        ("faq/returns.md", ["returns.*"], [], True),
        ("faq/returns.md", ["stores/*"], [], False),
        ("faq/draft-returns.md", ["*"], ["draft-*"], False),
        ("photo.png", ["*"], [], False),
        ("dataset.yaml", ["*"], [], False),
    ],
)
def test_a_source_takes_what_can_be_read_and_is_asked_for(
    name: str, include: list[str], exclude: list[str], wanted: bool
) -> None:
    assert is_wanted(name, include, exclude) is wanted
