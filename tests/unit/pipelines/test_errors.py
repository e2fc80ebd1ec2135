"""Errors cross processes as they are."""

from __future__ import annotations

import pickle

import pytest

from pipelines.errors import EngineError

pytestmark = pytest.mark.unit


def test_engine_error_is_the_same_in_another_process() -> None:
    error = pickle.loads(pickle.dumps(EngineError("retriever", "gone", retryable=True)))
    assert (str(error), error.engine, error.retryable) == ("retriever: gone", "retriever", True)
