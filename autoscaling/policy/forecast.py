"""Forecasts how many calls there will be when a machine ordered now is ready.

Calls in progress lag behind arrivals: with arrivals `a(u)` per second and calls of mean length D,

    dC/du = a(u) - C / D

so a jump in arrivals shows where C will be long before C gets there. `a` is fitted as a line over the recent past
(a burst that the line has not caught up with counts instead). What grows at first by so much a second grows later by
so much a share, as crowds and openings do, so the line's slope is taken as growth g = a1 / a0, and the equation solved
`lead_s` ahead:

    C(h) = C0 exp(-h / D) + D a0 / (1 + g D) (exp(g h) - exp(-h / D))

A slope counts only as far as it exceeds chance, since noise must not buy machines. Chance is that of a Poisson process
times the dispersion of the arrivals, which is learned from the differences between successive minutes (1 for Poisson,
more for automated callers or many callers with one cause).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

# Readings that are closer together than this add only noise.
_SPACING_S = 5.0
_WINDOW_S = 240.0
_BURST_S = 60.0
# A burst counts if it exceeds the line by this many standard deviations, and is then reduced by one of them.
_BURST_DEVIATIONS = 2.5
# Bounds in standard deviations of a slope: below the first it is ignored, from the second on it is fully trusted.
_SLOPE_DOUBT = 1.0
_SLOPE_SURE = 3.0
# A minute of readings. Fewer say nothing about a slope.
_LEAST_RATES = 12
# Maximum growth per second, which means doubling in two minutes.
_MOST_GROWTH = math.log(2) / 120
_LENGTH_LEARNING = 0.05
_MINUTE_S = 60.0
_DISPERSION_LEARNING = 0.1
# Up to here a forecast is fully trusted.
_TRUSTED_DISPERSION = 3.0
# Bounded, so that one jump does not blind the forecast for long.
_MOST_DISPERSED = 30.0
_LENGTH_BOUNDS_S = (10.0, 3600.0)


@dataclass(frozen=True, slots=True)
class CallReading:
    """The combined report of the gateways.

    Attributes:
        now_s: time in seconds of any monotonic clock.
        calls: calls in progress.
        arrivals: number of calls that ever asked for admission, including refused ones. It only grows.
        refused: number of calls that were ever refused. It only grows.
    """

    now_s: float
    calls: float
    arrivals: float
    refused: float = 0.0


@dataclass(frozen=True, slots=True)
class ForecastMemory:
    """Recent readings, oldest first, and what was learned so far.

    Attributes:
        mean_call_s: mean length of a call.
        dispersion: variance of a minute's arrivals divided by that of a Poisson process, at least 1.
        minutes: the last two readings that are a minute apart.
    """

    readings: tuple[CallReading, ...] = ()
    mean_call_s: float = 180.0
    dispersion: float = 1.0
    minutes: tuple[CallReading, ...] = ()


@dataclass(frozen=True, slots=True)
class ArrivalTrend:
    """Arrivals per second now, and their change per second squared."""

    per_s: float = 0.0
    slope: float = 0.0


def remember(memory: ForecastMemory, reading: CallReading) -> ForecastMemory:
    """Add a reading, unless it is within a few seconds of the last one. If the clock ran backwards, start afresh."""
    readings = memory.readings
    if readings and reading.now_s < readings[-1].now_s:
        readings = ()
    if readings and reading.now_s - readings[-1].now_s < _SPACING_S:
        return memory
    kept = tuple(known for known in readings if reading.now_s - known.now_s <= _WINDOW_S)
    return _learn_dispersion(_learn_length(replace(memory, readings=(*kept, reading))))


def anticipated_calls(memory: ForecastMemory, reading: CallReading, lead_s: float) -> float:
    """Return the calls expected in progress `lead_s` seconds after `reading`, at least 0."""
    trend = arrival_trend(memory)
    if len(memory.readings) < 2:
        return reading.calls
    length_s = memory.mean_call_s
    level, settled = trend.per_s * length_s, math.exp(-lead_s / length_s)
    growth = min(trend.slope / max(trend.per_s, 1e-9), _MOST_GROWTH)
    ahead = reading.calls * settled + level / (1 + growth * length_s) * (math.exp(growth * lead_s) - settled)
    # Large swings tend to swing back, so the wilder the arrivals, the less a departure from now is trusted.
    believed = min(1.0, _TRUSTED_DISPERSION / memory.dispersion)
    return max(0.0, reading.calls + believed * (ahead - reading.calls))


def arrival_trend(memory: ForecastMemory) -> ArrivalTrend:
    """Fit a line through the recent arrival rates. A downward slope is reported as zero."""
    rates = _rates(memory.readings)
    if not rates:
        return ArrivalTrend()
    mean = sum(rate * width for _, rate, width in rates) / sum(width for _, _, width in rates)
    end_s = memory.readings[-1].now_s
    slope = _believable_slope(rates, mean, memory.dispersion)
    level = mean + slope * (end_s - sum(at * width for at, _, width in rates) / sum(width for _, _, width in rates))
    burst, chance = _recent_rate(memory.readings), math.sqrt(memory.dispersion * max(level, 0.05) / _BURST_S)
    if burst > level + _BURST_DEVIATIONS * chance:
        level = burst - chance
    return ArrivalTrend(max(level, 0.0), slope)


def _rates(readings: tuple[CallReading, ...]) -> list[tuple[float, float, float]]:
    """Return (middle of the interval, arrivals per second in it, its width) between successive readings."""
    rates = []
    for before, after in itertools.pairwise(readings):
        width = after.now_s - before.now_s
        rates.append(((after.now_s + before.now_s) / 2, max(0.0, after.arrivals - before.arrivals) / width, width))
    return rates


def _believable_slope(rates: list[tuple[float, float, float]], mean: float, dispersion: float) -> float:
    if len(rates) < _LEAST_RATES:
        return 0.0
    middle = sum(at for at, _, _ in rates) / len(rates)
    spread = sum((at - middle) ** 2 for at, _, _ in rates)
    slope = sum((at - middle) * (rate - mean) for at, rate, _ in rates) / spread
    width = sum(width for _, _, width in rates) / len(rates)
    error = math.sqrt(dispersion * max(mean, 0.02) / width / spread)
    doubt = _SLOPE_DOUBT * min(1.0, max(0.0, _SLOPE_SURE - slope / error))
    return max(0.0, slope - doubt * error)


def _recent_rate(readings: tuple[CallReading, ...]) -> float:
    last = readings[-1]
    earlier = [known for known in readings if last.now_s - known.now_s >= _BURST_S]
    if not earlier:
        return 0.0
    return max(0.0, last.arrivals - earlier[-1].arrivals) / (last.now_s - earlier[-1].now_s)


def _learn_length(memory: ForecastMemory) -> ForecastMemory:
    """Learn the mean length by Little's law over the window: calls in progress divided by calls ended per second."""
    first, last = memory.readings[0], memory.readings[-1]
    width = last.now_s - first.now_s
    if width < _WINDOW_S / 2:
        return memory
    admitted = (last.arrivals - last.refused) - (first.arrivals - first.refused)
    ended_per_s = (admitted - (last.calls - first.calls)) / width
    calls = sum(known.calls for known in memory.readings) / len(memory.readings)
    if ended_per_s <= 0 or calls < 5:
        return memory
    low, high = _LENGTH_BOUNDS_S
    seen_s = min(max(calls / ended_per_s, low), high)
    return replace(memory, mean_call_s=memory.mean_call_s + _LENGTH_LEARNING * (seen_s - memory.mean_call_s))


def _learn_dispersion(memory: ForecastMemory) -> ForecastMemory:
    """Learn the dispersion from successive minutes, whose difference has twice the variance and hides slow trends."""
    now = memory.readings[-1]
    minutes = memory.minutes
    if minutes and now.now_s - minutes[-1].now_s < _MINUTE_S:
        return memory
    if len(minutes) < 2 or now.now_s - minutes[-1].now_s > 2 * _MINUTE_S:
        return replace(memory, minutes=(*minutes[-1:], now))
    before = minutes[1].arrivals - minutes[0].arrivals
    after = now.arrivals - minutes[1].arrivals
    if before + after <= 0:
        return replace(memory, minutes=(minutes[1], now))
    seen = min((after - before) ** 2 / (before + after), _MOST_DISPERSED)
    learned = memory.dispersion + _DISPERSION_LEARNING * (seen - memory.dispersion)
    return replace(memory, minutes=(minutes[1], now), dispersion=max(1.0, learned))
