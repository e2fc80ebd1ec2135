"""Splits written text into sentences."""

from __future__ import annotations

import re

from pipelines.language.en.calendar import MONTHS, TIME_ZONES, WEEKDAYS

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'$])")
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|st|no|vs|e\.g|i\.e)\.$", re.IGNORECASE)
_CLOCK_TIME = re.compile(r"\b[ap]\.m\.$")
# What continues a sentence after "9 a.m.": a day, a date or a time zone.
_AFTER_CLOCK_TIME = frozenset({*WEEKDAYS, *(f"{day}s" for day in WEEKDAYS), *MONTHS, *TIME_ZONES})


def sentences(text: str) -> list[str]:
    """Split text into sentences; "2 p.m. Eastern" and "Mr. Reed" stay whole."""
    out: list[str] = []
    for piece in _SENTENCE_END.split(text.strip()):
        if out and (_ABBREVIATION.search(out[-1]) or _is_clock_time_continued(out[-1], piece)):
            out[-1] = f"{out[-1]} {piece}"
        elif piece:
            out.append(piece)
    return out


def _is_clock_time_continued(before: str, piece: str) -> bool:
    first = re.match(r"[A-Za-z]+", piece)
    return bool(_CLOCK_TIME.search(before)) and first is not None and first[0].lower() in _AFTER_CLOCK_TIME
