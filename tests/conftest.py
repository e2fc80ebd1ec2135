"""Rules of the whole test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

from cluster.config.environment import process_environment

CATEGORIES = frozenset({"unit", "contract", "ray", "e2e", "browser", "terraform", "terraform_apply", "bench"})
PRODUCT = ("autoscaling", "cluster", "deployments", "ingest_jobs", "pipelines")
# Calls that may block an event loop, by file and function: only before the first call is taken, or after the last.
MAY_BLOCK = (
    ("threading.Lock.acquire", "deployments/engines/microbatch.py", "close"),  # waits for the batch that runs
    ("threading.Lock.acquire", "deployments/engines/owned_thread.py", "stop"),  # waits for the turn that runs
    ("threading.Lock.acquire", "deployments/engines/streaming/loop.py", "warm_up"),  # a replica's start is the model's
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a run in which a test has no category, or two: it would be skipped, or run twice, by `make test`."""
    wrong = sorted({item.nodeid.partition("::")[0] for item in items if len(_categories(item)) != 1})
    if wrong:
        raise pytest.UsageError(
            f"every test module sets `pytestmark` to exactly one of {', '.join(sorted(CATEGORIES))}; these do not: "
            + ", ".join(wrong)
        )


@pytest.fixture(autouse=True)
def no_blocking_call_on_an_event_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a unit test in which the product blocks an event loop: all calls of a gateway would wait."""
    if request.node.get_closest_marker("unit") is None:
        yield
        return
    with blockbuster_ctx(scanned_modules=list(PRODUCT)) as detector:
        for call, file, function in MAY_BLOCK:
            detector.functions[call].can_block_in(file, {function})
        yield


@pytest.fixture
def no_voxray_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of whoever runs the tests."""
    for variable in process_environment():
        if variable.startswith("VOXRAY_"):
            monkeypatch.delenv(variable)


def _categories(item: pytest.Item) -> set[str]:
    return {mark.name for mark in item.iter_markers()} & CATEGORIES
