"""Voice activity detection of one call, with each score placed on the session's audio timeline."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.audio.history import AudioHistory
from pipelines.audio.pcm import PCM_16K
from pipelines.call.state import DetectionPlace
from pipelines.ports import SpeechDetector, SpeechScore, SpeechStream
from pipelines.session.stimuli import SpeechScored


class SpeechDetection:
    """Scores a call's audio while turns are detected by voice. Each time that is switched on, a new stream begins.

    Args:
        detector: the detector shared by all calls of the gateway.
        on_score: called with each window's score, once and in order.
    """

    def __init__(self, detector: SpeechDetector, on_score: Callable[[SpeechScored], None]) -> None:
        self._detector = detector
        self._on_score = on_score
        self._stream: SpeechStream | None = None
        self._base_ms = 0
        self._scored_ms = 0
        self._window_ms = 0

    @property
    def place(self) -> DetectionPlace | None:
        """How far the stream has progressed, for another process to continue from; None without a stream."""
        return DetectionPlace(self._base_ms, self._scored_ms, self._window_ms) if self._stream is not None else None

    def push(self, pcm_16k: bytes, end_ms: int) -> None:
        """Score audio that ends at `end_ms` of the session's audio."""
        if self._stream is None:
            base_ms = end_ms - PCM_16K.ms_of(len(pcm_16k))
            self._base_ms = self._scored_ms = base_ms
            self._window_ms = 0
            self._stream = self._open(base_ms)
        self._stream.push(pcm_16k)

    def resume(self, place: DetectionPlace, history: AudioHistory) -> None:
        """Continue from where another process stopped, replaying that stretch of audio from `history`."""
        self._base_ms, self._scored_ms, self._window_ms = place.base_ms, place.scored_ms, place.window_ms
        self._stream = self._open(place.warm_up_ms)
        self._stream.push(history.since(place.warm_up_ms))

    def close(self) -> None:
        """End the stream. Does nothing when none is open."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self, base_ms: int) -> SpeechStream:
        def on_score(score: SpeechScore) -> None:
            end_ms = base_ms + score.end_ms
            if self._stream is None or end_ms <= self._scored_ms:
                return
            self._scored_ms, self._window_ms = end_ms, score.window_ms
            self._on_score(SpeechScored(score.probability, end_ms, score.window_ms))

        return self._detector.open(on_score)
