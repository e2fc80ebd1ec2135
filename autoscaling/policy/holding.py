"""Scales up at once and down late, by the largest value wanted within the last seconds.

Only the few readings that can still become the largest are kept (each later one is smaller), so memory is small.
"""

from __future__ import annotations

Peaks = tuple[tuple[float, float], ...]


def hold_peak(peaks: Peaks, now_s: float, wanted: float, hold_s: float) -> tuple[float, Peaks]:
    """Add a wanted value. Returns the largest within `hold_s`, and the peaks to pass back next time."""
    rest = tuple((at, value) for at, value in peaks if now_s - at < hold_s and at <= now_s and value > wanted)
    kept = (*rest, (now_s, wanted))
    return kept[0][1], kept
