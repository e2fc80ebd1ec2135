"""Scores of a detector's stream, placed in the session's audio."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipelines.audio.history import AudioHistory
from pipelines.call.detection import SpeechDetection
from pipelines.call.state import DetectionPlace
from pipelines.ports import SpeechScore
from pipelines.session.stimuli import SpeechScored

pytestmark = pytest.mark.unit
MS_100 = bytes(3200)


class Detector:
    """Hands out streams that keep what they get, and lets a test score."""

    def __init__(self) -> None:
        self.pushed: list[bytes] = []
        self.opened, self.closed = 0, 0
        self.score: Callable[[SpeechScore], None] = lambda _score: None

    def open(self, on_score: Callable[[SpeechScore], None]) -> Detector:
        self.opened += 1
        self.score = on_score
        return self

    def push(self, pcm_16k: bytes) -> None:
        self.pushed.append(pcm_16k)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def detector() -> Detector:
    return Detector()


@pytest.fixture
def scores() -> list[SpeechScored]:
    return []


def test_scores_are_placed_where_the_stream_began(detector: Detector, scores: list[SpeechScored]) -> None:
    detection = SpeechDetection(detector, scores.append)
    detection.push(MS_100, end_ms=1000)
    detection.push(MS_100, end_ms=1100)
    detector.score(SpeechScore(0.9, 32, 32))
    assert (detector.opened, detector.pushed) == (1, [MS_100, MS_100])
    assert scores == [SpeechScored(0.9, 932, 32)]
    assert detection.place == DetectionPlace(900, 932, 32)


def test_window_that_was_scored_before_is_not_told_again(detector: Detector, scores: list[SpeechScored]) -> None:
    history = AudioHistory(10_000)
    history.append(MS_100 * 20)
    detection = SpeechDetection(detector, scores.append)
    place = DetectionPlace(0, 1952, 32)
    detection.resume(place, history)
    assert detector.pushed == [history.since(place.warm_up_ms)]
    detector.score(SpeechScore(0.5, 1952 - place.warm_up_ms, 32))
    detector.score(SpeechScore(0.7, 1984 - place.warm_up_ms, 32))
    assert scores == [SpeechScored(0.7, 1984, 32)]
    assert detection.place == DetectionPlace(0, 1984, 32)


def test_late_score_of_a_closed_stream_is_dropped_and_the_next_audio_opens_another(
    detector: Detector, scores: list[SpeechScored]
) -> None:
    detection = SpeechDetection(detector, scores.append)
    detection.close()
    detection.push(MS_100, end_ms=100)
    late = detector.score
    detection.close()
    late(SpeechScore(0.9, 32, 32))
    assert (scores, detector.closed, detection.place) == ([], 1, None)
    detection.push(MS_100, end_ms=700)
    assert detector.opened == 2
    assert detection.place == DetectionPlace(600, 600)
