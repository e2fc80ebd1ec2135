"""Schedules of calls that an operator expects, such as opening hours, a campaign or a television spot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """Room for `calls` on `days` from `start_min` to `end_min`, in minutes of the day.

    An end before the start is on the next day.
    """

    days: frozenset[str]
    start_min: int
    end_min: int
    calls: int

    def covers(self, day: str, minute: float) -> bool:
        """Return whether a moment lies within this entry."""
        if self.start_min <= self.end_min:
            return day in self.days and self.start_min <= minute < self.end_min
        before = DAYS[DAYS.index(day) - 1]
        return (day in self.days and minute >= self.start_min) or (before in self.days and minute < self.end_min)


def scheduled_calls(entries: Iterable[ScheduleEntry], week_min: float, lead_s: float) -> int:
    """Return the calls to have room for: the largest entry that covers now or the moment `lead_s` from now.

    Args:
        entries: the schedule.
        week_min: minutes since Monday 0:00 in the schedule's time zone.
        lead_s: how long machines take to start, in seconds.
    """
    wanted = 0
    for moment in (week_min, week_min + lead_s / 60):
        day, minute = divmod(moment % (7 * MINUTES_A_DAY), MINUTES_A_DAY)
        covering = (entry.calls for entry in entries if entry.covers(DAYS[int(day)], minute))
        wanted = max(wanted, max(covering, default=0))
    return wanted


def parse_entry(days: str, start: str, end: str, calls: int) -> ScheduleEntry:
    """Parse an entry as an operator writes it: "mon-fri", "sat,sun" or "all"; "08:00", "18:30".

    Raises:
        ValueError: the entry is malformed. The message says what is wrong.
    """
    return ScheduleEntry(_days(days), _minute(start), _minute(end), calls)


def _days(text: str) -> frozenset[str]:
    if text == "all":
        return frozenset(DAYS)
    days: set[str] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first not in DAYS or (last and last not in DAYS):
            raise ValueError(f"'{text}' is not a list of days; write mon-fri, or sat,sun, or all")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        days.update(DAYS[(begin + step) % 7] for step in range((end - begin) % 7 + 1))
    return frozenset(days)


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    if hours.isdigit() and minutes.isdigit() and len(minutes) == 2 and int(minutes) < 60:
        minute = int(hours) * 60 + int(minutes)
        if minute <= MINUTES_A_DAY:
            return minute
    raise ValueError(f"'{text}' is not a time of day; write 08:00")
