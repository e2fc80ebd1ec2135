"""What is kept of vLLM's own figures."""

from __future__ import annotations

import pytest

from deployments.engines.vllm.load import WINDOW_S, VllmLoad

pytestmark = pytest.mark.unit


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_engine_that_has_said_nothing_is_not_known(clock: Clock) -> None:
    assert VllmLoad(clock).stats() == {}


def test_waiting_requests_are_a_mean_over_time_and_the_cache_its_peak(clock: Clock) -> None:
    load = VllmLoad(clock)
    load.note_step(8, 4, 0.9)
    clock.now_s += WINDOW_S / 4
    load.note_step(8, 0, 0.4)
    clock.now_s += WINDOW_S / 4
    assert load.stats() == {"kv_use": 0.9, "waiting": pytest.approx(1.0)}


def test_last_step_holds_until_the_next_however_old_it_is(clock: Clock) -> None:
    load = VllmLoad(clock)
    load.note_step(8, 3, 0.9)
    clock.now_s += 10 * WINDOW_S
    assert load.stats() == {"kv_use": 0.9, "waiting": pytest.approx(3.0)}
    load.note_idle()
    clock.now_s += WINDOW_S + 1
    load.note_idle()
    assert load.stats() == {"kv_use": 0.0, "waiting": 0.0}


def test_first_tokens_are_forgotten_after_the_window(clock: Clock) -> None:
    load = VllmLoad(clock)
    for took_s in (0.1, 0.2, 0.9):
        load.note_first_token(took_s)
    assert load.stats()["first_token_ms"] == pytest.approx(900)
    clock.now_s += WINDOW_S + 1
    assert "first_token_ms" not in load.stats()
