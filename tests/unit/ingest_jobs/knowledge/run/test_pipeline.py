"""The encoder of a job is loaded once, when it is needed or expected, and fails where it is used."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from deployments.engines.scripted.encoder import ScriptedEncoder
from ingest_jobs.knowledge.read.dataset import Dataset
from ingest_jobs.knowledge.run.pipeline import Encoder, JobPlan, LazyEncoder
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit


class Loads:
    """Stands for loading: counts, and waits until it may go on."""

    def __init__(self, error: Exception | None = None) -> None:
        self.times = 0
        self.may_end = threading.Event()
        self.threads: set[str] = set()
        self._error = error
        self._inner = ScriptedEncoder(8)

    def open_encoder(self, _plan: JobPlan) -> Encoder:
        self.times += 1
        assert self.may_end.wait(10)
        if self._error is not None:
            raise self._error
        return self

    def encode(self, texts: list[str]) -> np.ndarray:
        self.threads.add(threading.current_thread().name)
        return self._inner.encode(texts)


def lazy(loads: Loads, monkeypatch: pytest.MonkeyPatch) -> LazyEncoder:
    monkeypatch.setattr(JobPlan, "open_encoder", lambda plan: loads.open_encoder(plan))
    return LazyEncoder(JobPlan(Dataset(), "t", "", "knowledge", Path()))


def test_nothing_is_loaded_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = Loads()
    loads.may_end.set()
    encoder = lazy(loads, monkeypatch)
    assert loads.times == 0
    assert np.array_equal(encoder.encode(["a", "b"]), ScriptedEncoder(8).encode(["a", "b"]))
    encoder.encode(["c"])
    assert loads.times == 1


def test_expected_encoder_loads_beside_its_user_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = Loads()
    encoder = lazy(loads, monkeypatch)
    encoder.expect()  # returns although loading waits for what comes next
    encoder.expect()
    loads.may_end.set()
    assert encoder.encode(["a"]).shape == (1, 8)
    assert loads.times == 1
    # The number of threads that torch uses is a setting of the thread which loaded it.
    assert len(loads.threads) == 1
    assert threading.current_thread().name not in loads.threads


def test_what_loading_raises_is_raised_where_texts_are_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = Loads(ConfigError("no encoder there"))
    loads.may_end.set()
    encoder = lazy(loads, monkeypatch)
    encoder.expect()
    for _ in range(2):
        with pytest.raises(ConfigError, match="no encoder there"):
            encoder.encode(["a"])
