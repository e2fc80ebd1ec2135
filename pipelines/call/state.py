"""What a runner holds besides the session's state, as plain data, so that another runner can continue the call."""

from __future__ import annotations

from dataclasses import dataclass

# After this much audio, a detector with memory gives the scores of one that heard the whole call.
WARM_UP_MS = 2_000


@dataclass(frozen=True, slots=True)
class DetectionPlace:
    """How far detection has progressed.

    Attributes:
        base_ms: where the detection stream began in the session's audio.
        scored_ms: where the last scored window ended.
        window_ms: length of that window, 0 before the first.
    """

    base_ms: int
    scored_ms: int
    window_ms: int = 0

    @property
    def warm_up_ms(self) -> int:
        """Where a new stream must begin so that its windows align with this one's and it has warmed up in time."""
        if not self.window_ms:
            return self.base_ms
        windows = min(WARM_UP_MS, self.scored_ms - self.base_ms) // self.window_ms
        return self.scored_ms - windows * self.window_ms


@dataclass(frozen=True, slots=True)
class RunnerState:
    """What a runner holds besides the session's state: its age and its recent audio.

    Attributes:
        session_us: the session's clock, in microseconds.
        audio_offset_bytes: byte offset in the session's audio at which `pcm_16k` begins.
        detection: how far voice activity detection has progressed; None while turns are not detected by voice.
    """

    session_us: int = 0
    audio_offset_bytes: int = 0
    pcm_16k: bytes = b""
    detection: DetectionPlace | None = None
