from __future__ import annotations

import pytest

from deployments.engines.streaming.lag import LagMeter, streams_within

pytestmark = pytest.mark.unit


def test_lateness_counts_from_the_first_late_tick_and_ends_with_one_in_time() -> None:
    meter = LagMeter(late_ms=100)
    meter.record([5, 101], 1000)
    meter.record([500], 1500)
    assert meter.late_for_ms(1700) == 700
    meter.record([100], 1800)
    assert meter.late_for_ms(1900) == 0


def test_lateness_ends_when_nothing_waits() -> None:
    meter = LagMeter(late_ms=100)
    meter.record([900], 1000)
    meter.rest()
    assert meter.late_for_ms(9000) == 0


def test_percentiles_are_of_all_chunks() -> None:
    meter = LagMeter(late_ms=100)
    assert meter.percentiles() == {"p50": 0.0, "p95": 0.0, "p99": 0.0}
    meter.record(list(range(101)), 0)
    assert meter.percentiles() == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


@pytest.mark.parametrize(
    ("share", "streams"),
    [
        (0.5, 3),  # 80 ms: a step of 3 takes 70
        (0.05, 1),  # not even one fits: one is admitted all the same
        (1.0, 7),  # 160 ms: a step of 4 takes 90, one of 3 the rest
        (1.2, 8),
    ],
)
def test_streams_fit_into_their_share_of_a_chunk(share: float, streams: int) -> None:
    step_ms = {1: 30.0, 2: 80.1, 3: 70.0, 4: 90.0}
    assert streams_within(step_ms, 160, share) == streams
