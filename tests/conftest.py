"""Rules of the whole test run."""

from __future__ import annotations

import pytest

from cluster.config.environment import process_environment

CATEGORIES = frozenset({"unit", "contract", "ray", "e2e", "browser", "terraform", "terraform_apply", "bench"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a run in which a test has no category, or two: it would be skipped, or run twice, by `make test`."""
    wrong = sorted({item.nodeid.partition("::")[0] for item in items if len(_categories(item)) != 1})
    if wrong:
        raise pytest.UsageError(
            f"every test module sets `pytestmark` to exactly one of {', '.join(sorted(CATEGORIES))}; these do not: "
            + ", ".join(wrong)
        )


@pytest.fixture
def no_voxray_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of whoever runs the tests."""
    for variable in process_environment():
        if variable.startswith("VOXRAY_"):
            monkeypatch.delenv(variable)


def _categories(item: pytest.Item) -> set[str]:
    return {mark.name for mark in item.iter_markers()} & CATEGORIES
