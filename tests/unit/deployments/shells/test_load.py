"""What replicas say of their load."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deployments.gateway.admission import Admission
from deployments.shells.language_model import LanguageModel
from deployments.shells.load import WINDOW_S, LoadMeter
from deployments.shells.synthesizer import Synthesizer
from pipelines.errors import CapacityError
from pipelines.ports import ChatMessage, Clause, GenerationRequest, SpeechChunk, SpeechRequest

pytestmark = pytest.mark.unit


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_requests_are_counted_while_they_last(clock: Clock) -> None:
    meter = LoadMeter(clock)
    with meter.request(), meter.request():
        assert meter.stats()["in_flight"] == 2
    assert meter.stats()["in_flight"] == 0


def test_busy_share_counts_overlapping_requests_once(clock: Clock) -> None:
    meter = LoadMeter(clock)
    with meter.request():
        clock.now_s += 4
        with meter.request():
            clock.now_s += 2
    clock.now_s += 1
    with meter.request():
        clock.now_s += 2
        assert meter.stats()["busy"] == pytest.approx(8 / WINDOW_S)


def test_first_output_and_lag_are_the_slow_against_the_fast(clock: Clock) -> None:
    meter = LoadMeter(clock)
    for wait_s in (0.1, 0.1, 0.5):
        with meter.request() as load:
            clock.now_s += wait_s
            meter.first_output(load)
            clock.now_s += 1
            meter.first_output(load)
    stats = meter.stats()
    assert stats["first_output_ms"] == pytest.approx(500)
    assert stats["lag_ms"] == pytest.approx(400)


def test_queue_shows_its_age_before_anything_comes_out_of_it(clock: Clock) -> None:
    meter = LoadMeter(clock)
    with meter.request():
        clock.now_s += 0.1
    with meter.request() as first, meter.request():
        clock.now_s += 0.3
        assert meter.stats()["queue_age_ms"] == pytest.approx(200)
        meter.first_output(first)
        clock.now_s += 0.3
        assert meter.stats()["queue_age_ms"] == pytest.approx(500)
    assert meter.stats()["queue_age_ms"] == 0


def test_what_is_older_than_the_window_is_forgotten(clock: Clock) -> None:
    meter = LoadMeter(clock)
    with meter.request():
        clock.now_s += 1
    clock.now_s += WINDOW_S + 0.1
    assert meter.stats() == {"in_flight": 0.0, "busy": 0.0}


def test_failed_request_ends_too(clock: Clock) -> None:
    meter = LoadMeter(clock)
    with pytest.raises(RuntimeError), meter.request():
        raise RuntimeError
    assert meter.stats()["in_flight"] == 0


def test_admission_counts_who_asked_and_who_was_refused() -> None:
    admission = Admission(1)
    with admission.admit():
        with pytest.raises(CapacityError), admission.admit():
            pass
        assert admission.stats() == {"calls": 1.0, "arrivals": 2.0, "refused": 1.0}
    assert admission.stats() == {"calls": 0.0, "arrivals": 2.0, "refused": 1.0}


class Voice:
    def warm_up(self) -> None: ...

    async def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        yield SpeechChunk(bytes(24_000))
        yield SpeechChunk(bytes(24_000))


class Model(Voice):
    is_alive = True

    def load_stats(self) -> dict[str, float]:
        return {"kv_use": 0.5}

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        yield Clause("Yes.", False, 1, 1)
        yield Clause("", True, 1, 1)


async def test_synthesizer_reports_its_real_time_factor(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.shells.synthesizer.LoadMeter", lambda: LoadMeter(clock))
    shell = Synthesizer(Voice)
    async for _ in shell.synthesize(SpeechRequest("Yes.")):  # two pieces of half a second
        clock.now_s += 0.15
    stats = shell.record_autoscaling_stats()
    assert stats["real_time_factor"] == pytest.approx(0.3)
    assert stats["in_flight"] == 0


async def test_language_model_that_is_left_early_counts_as_ended() -> None:
    shell = LanguageModel(Model)
    stream = shell.generate(GenerationRequest("r", (ChatMessage("user", "?"),), max_tokens=2))
    await anext(stream)
    stats = shell.record_autoscaling_stats()
    assert (stats["in_flight"], stats["kv_use"]) == (1, 0.5)
    await stream.aclose()
    assert shell.record_autoscaling_stats()["in_flight"] == 0
