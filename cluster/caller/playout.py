"""A loudspeaker that plays audio as it arrives and records where it ran dry."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.audio.pcm import PCM_24K


@dataclass(slots=True)
class Playout:
    """Plays from the first piece on without a jitter buffer, which makes it the strictest listener.

    Attributes:
        first_at_s: when the first audio arrived, or None.
        gaps_ms: silences that the listener heard because the next piece was late.
    """

    first_at_s: float | None = None
    gaps_ms: list[float] = field(default_factory=list)
    pcm_24k: bytearray = field(default_factory=bytearray)
    _dry_at_s: float = 0.0

    def play(self, pcm_24k: bytes, arrived_s: float) -> None:
        """Play a piece that arrived at `arrived_s` (in seconds of any monotonic clock)."""
        if self.first_at_s is None:
            self.first_at_s = self._dry_at_s = arrived_s
        late_ms = (arrived_s - self._dry_at_s) * 1000
        if late_ms > 0 and self.pcm_24k:
            self.gaps_ms.append(late_ms)
        self._dry_at_s = max(self._dry_at_s, arrived_s) + PCM_24K.seconds_of(len(pcm_24k))
        self.pcm_24k += pcm_24k

    @property
    def longest_gap_ms(self) -> float:
        return max(self.gaps_ms, default=0.0)
