"""Going up at once, going down late: the largest value wanted within the last seconds.

Kept as the few readings that can still become the largest (each later one is smaller), so it costs nothing to carry.
"""

from __future__ import annotations

Peaks = tuple[tuple[float, float], ...]


def hold_peak(peaks: Peaks, now_s: float, wanted: float, hold_s: float) -> tuple[float, Peaks]:
    """Take in a wanted value; return the largest within `hold_s`, and the peaks to hand back next time."""
    rest = tuple((at, value) for at, value in peaks if now_s - at < hold_s and at <= now_s and value > wanted)
    kept = (*rest, (now_s, wanted))
    return kept[0][1], kept
