"""What a runner holds of a call beside the session's state, as plain data, so that another runner can go on."""

from __future__ import annotations

from dataclasses import dataclass

# A detector that remembers what it has heard has heard enough of it then.
WARM_UP_MS = 2_000


@dataclass(frozen=True, slots=True)
class DetectionPlace:
    """How far detection is.

    Attributes:
        base_ms: where its stream began.
        scored_ms: where the last scored window ended.
        window_ms: length of that window, 0 before the first.
    """

    base_ms: int
    scored_ms: int
    window_ms: int = 0

    @property
    def warm_up_ms(self) -> int:
        """Where a new stream must begin so that its windows lie as those of this one, and it is warm in time."""
        if not self.window_ms:
            return self.base_ms
        windows = min(WARM_UP_MS, self.scored_ms - self.base_ms) // self.window_ms
        return self.scored_ms - windows * self.window_ms


@dataclass(frozen=True, slots=True)
class RunnerState:
    """What a runner holds of a session beside its state: how old it is, and its recent audio.

    Attributes:
        session_us: the session's clock, in microseconds.
        audio_offset_bytes: where in the session's audio `pcm_16k` begins.
        detection: how far voice activity detection is, None while turns are not found by voice.
    """

    session_us: int = 0
    audio_offset_bytes: int = 0
    pcm_16k: bytes = b""
    detection: DetectionPlace | None = None
