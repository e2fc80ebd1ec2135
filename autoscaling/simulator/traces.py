"""Call traces, which define when calls arrive and how long they last."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rates = NDArray[np.float64]
HOUR_S = 3600
DAY_S = 24 * HOUR_S
MEAN_CALL_S = 180.0
# Lengths of telephone calls are roughly lognormal (Brown et al., JASA 100, 2005), with a coefficient of variation of 1.
_LENGTH_SIGMA = math.sqrt(math.log(2.0))
_LONGEST_CALL_S = 3600

# Load by hour of the day relative to the busiest hour: business hours with a dip at lunch, as in call centres.
DAILY_SHAPE = (.06, .04, .03, .03, .04, .08, .18, .42, .78, .95, 1.0, .96, .84, .86, .93, .95, .88, .74, .58, .44, .32,
               .22, .14, .09)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trace:
    """The calls of a trace.

    Attributes:
        name: name used in reports.
        arrivals: how many calls arrive in each second.
        lengths_s: length of each call, in order of arrival.
        start_week_min: minutes since Monday 0:00 at the first second.
    """

    name: str
    arrivals: NDArray[np.int64]
    lengths_s: NDArray[np.int32]
    start_week_min: float = 0.0

    @property
    def seconds(self) -> int:
        return len(self.arrivals)

    def offered_calls(self) -> NDArray[np.int64]:
        """Return the calls in progress at the end of each second if none is refused."""
        starts = np.repeat(np.arange(self.seconds), self.arrivals)
        ends = np.bincount(np.minimum(starts + self.lengths_s, self.seconds), minlength=self.seconds + 1)
        result: NDArray[np.int64] = np.cumsum(self.arrivals - ends[: self.seconds])
        return result


def from_rates(name: str, per_s: Rates, rng: np.random.Generator, mean_call_s: float = MEAN_CALL_S) -> Trace:
    """Draw a trace from the rate of calls in each second, with Poisson arrivals and lognormal lengths.

    Calls that were in progress before the beginning arrive in the first second with their remaining length.
    """
    arrivals = rng.poisson(per_s)
    already = int(rng.poisson(per_s[0] * mean_call_s))
    mu = math.log(mean_call_s) - _LENGTH_SIGMA**2 / 2
    lengths = rng.lognormal(mu, _LENGTH_SIGMA, int(arrivals.sum()))
    # At a given moment long calls are more likely, in proportion to their length, and each is at a random point.
    rest = rng.lognormal(mu + _LENGTH_SIGMA**2, _LENGTH_SIGMA, already) * rng.random(already)
    arrivals[0] += already
    all_lengths = np.concatenate((np.clip(rest, 1, _LONGEST_CALL_S), np.clip(lengths, 5, _LONGEST_CALL_S)))
    return Trace(name, arrivals, all_lengths.astype(np.int32))


def poisson(peak_calls: int, rng: np.random.Generator, hours: float = 6) -> Trace:
    """Return a steady stream of calls."""
    rates = np.full(int(hours * HOUR_S), peak_calls / MEAN_CALL_S)
    return from_rates("poisson", rates, rng)


def daily(peak_calls: int, rng: np.random.Generator, hours: float = 24) -> Trace:
    """Return a working day, whose rate wanders around its shape because days differ."""
    return from_rates("daily", _day(peak_calls, hours) * _wander(int(hours * HOUR_S), rng), rng)


def flash_crowd(peak_calls: int, rng: np.random.Generator, hours: float = 24) -> Trace:
    """Return a day on which arrivals double within ten minutes at 14:00, and ebb over half an hour.

    `peak_calls` is the top of the crowd.
    """
    base = _day(peak_calls / 1.8, hours)
    second = np.arange(len(base), dtype=np.float64)
    since = second - 14 * HOUR_S
    crowd = np.where(since < 0, 0.0, np.where(since < 600, since / 600, np.exp(-(since - 600) / 1800)))
    return from_rates("flash crowd", base * (1 + crowd) * _wander(len(base), rng), rng)


def opening_hours(peak_calls: int, rng: np.random.Generator, hours: float = 24) -> Trace:
    """Return a support line's day: hardly any calls before 8:00, a rush at the opening, two surges of call-backs."""
    second = np.arange(int(hours * HOUR_S), dtype=np.float64)
    is_open = 1 / (1 + np.exp(-(second - 8.25 * HOUR_S) / 420)) - 1 / (1 + np.exp(-(second - 18 * HOUR_S) / 900))
    shape = 0.03 + 0.72 * is_open
    for begin_h, size in ((10.5, 0.22), (15.2, 0.18)):
        shape += size * np.exp(-(((second - begin_h * HOUR_S) / 1500) ** 2))
    return from_rates("opening hours", peak_calls / MEAN_CALL_S * shape * _wander(len(second), rng), rng)


Generator = Callable[[int, np.random.Generator, float], Trace]
GENERATORS: Mapping[str, Generator] = {
    "poisson": poisson,
    "daily": daily,
    "flash-crowd": flash_crowd,
    "opening-hours": opening_hours,
}


def load_trace(file: Path) -> Trace:
    """Read a recorded trace: JSON Lines of `{"at_s": seconds since its beginning, "length_s": seconds}`.

    Raises:
        ValueError: a line is malformed. The message names it.
    """
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            at_s, length_s = float(row["at_s"]), float(row["length_s"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{file}, line {number}: wanted {{"at_s": 12.5, "length_s": 180}}') from error
        if at_s < 0 or length_s <= 0:
            raise ValueError(f"{file}, line {number}: times must not be negative")
        rows.append((at_s, length_s))
    if not rows:
        raise ValueError(f"{file}: holds no call")
    at, lengths = np.asarray(sorted(rows)).T
    arrivals = np.bincount(at.astype(np.int64))
    return Trace(file.stem, arrivals, np.maximum(lengths, 1).astype(np.int32))


def save_trace(trace: Trace, file: Path) -> None:
    """Write a trace in the format that `load_trace` reads."""
    starts = np.repeat(np.arange(trace.seconds), trace.arrivals)
    rows = zip(starts.tolist(), trace.lengths_s.tolist(), strict=True)
    file.write_text("".join(f'{{"at_s": {at}, "length_s": {length}}}\n' for at, length in rows), encoding="utf-8")


def _day(peak_calls: float, hours: float) -> Rates:
    middle_s = (np.arange(25) + 0.5) * HOUR_S
    second = np.arange(int(hours * HOUR_S)) % DAY_S
    shape = np.interp(second, middle_s, (*DAILY_SHAPE, DAILY_SHAPE[0]), left=DAILY_SHAPE[0])
    rates: Rates = peak_calls / MEAN_CALL_S * shape
    return rates


def _wander(seconds: int, rng: np.random.Generator) -> Rates:
    """Return a random factor around 1, with a deviation of 4% and a correlation time of ten minutes."""
    steps = seconds // 60 + 2
    keep = math.exp(-1 / 10)
    noise = rng.normal(0, 0.04 * math.sqrt(1 - keep**2), steps)
    values = np.empty(steps)
    values[0] = rng.normal(0, 0.04)
    for step in range(1, steps):
        values[step] = keep * values[step - 1] + noise[step]
    factor: Rates = np.exp(np.interp(np.arange(seconds), np.arange(steps) * 60.0, values))
    return factor
