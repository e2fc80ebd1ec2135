"""Errors cross processes as they are."""

from __future__ import annotations

import pickle

import pytest

from pipelines.errors import EngineError, IllegalTransition, traceback_without_values

pytestmark = pytest.mark.unit


def test_engine_error_is_the_same_in_another_process() -> None:
    error = pickle.loads(pickle.dumps(EngineError("retriever", "gone", retryable=True)))
    assert (str(error), error.engine, error.retryable) == ("retriever: gone", "retriever", True)


def failed_while_hearing() -> BaseException:
    try:
        try:
            raise KeyError("my number is 4242")
        except KeyError:
            raise ValueError("my number is 4242") from None
    except ValueError as error:
        cause = error
    try:
        raise IllegalTransition("input cannot do that") from cause
    except IllegalTransition as error:
        return error


def test_a_traceback_for_logs_has_places_and_types_of_all_causes_and_nothing_that_was_said() -> None:
    told = traceback_without_values(failed_while_hearing())

    assert "4242" not in told.replace('"my number is 4242"', ""), "lines of code may stand in it, values may not"
    assert "failed_while_hearing" in told
    assert "ValueError" in told
    assert "IllegalTransition: input cannot do that" in told
