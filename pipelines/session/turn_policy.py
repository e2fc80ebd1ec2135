"""Decides when a caller's turn is over, from silence, the turn model's judgement and the words. Pure."""

from __future__ import annotations

import re

from pipelines.language.en.words import QUESTION_WORDS
from pipelines.session.settings import TurnDetection, TurnDetectionKind

# The turn model is asked again as the silence grows, because what sounds unfinished after 0.1 s may sound finished
# after 0.4 s.
JUDGE_AT_SILENCE_MS = (0, 256, 448, 704, 1000, 1800)
# A recognised question needs this much more silence than a judgement, since recognisers guess punctuation at pauses.
QUESTION_MARGIN_MS = 128
HYSTERESIS = 0.15


def is_voiced(probability: float, detection: TurnDetection, *, is_speaking: bool) -> bool:
    """Return whether a window counts as speech. While the caller speaks, a lower probability suffices (hysteresis)."""
    threshold = max(detection.threshold - HYSTERESIS, 0.01) if is_speaking else detection.threshold
    return probability >= threshold


def wants_speculation(silence_ms: int, detection: TurnDetection) -> bool:
    """Return whether recognition (and an answer) should start although the turn may continue."""
    return silence_ms >= min(detection.speculation_silence_ms, latest_silence_ms(detection))


def wants_judgement(silence_ms: int, judged_silence_ms: int, detection: TurnDetection) -> bool:
    """Return whether to ask the turn model (again) at this silence.

    `judged_silence_ms` is 0 when it was not asked yet.
    """
    if detection.kind is not TurnDetectionKind.SEMANTIC_VAD:
        return False
    due = [max(at, detection.speculation_silence_ms) for at in JUDGE_AT_SILENCE_MS]
    return any(judged_silence_ms < at <= silence_ms for at in due)


def is_turn_over(
    silence_ms: int,
    detection: TurnDetection,
    *,
    completion: float | None,
    transcript: str | None,
    is_ended: bool = False,
) -> bool:
    """Return whether the turn is over after `silence_ms`.

    Args:
        completion: the turn model's probability that the caller has finished, or None when unknown so far.
        transcript: what was recognised up to the pause, or None when unknown so far.
        is_ended: whether the recogniser itself considers the utterance finished.
    """
    if silence_ms >= latest_silence_ms(detection):
        return True
    if detection.kind is not TurnDetectionKind.SEMANTIC_VAD or silence_ms < detection.min_silence_ms:
        return False
    if is_ended or (completion is not None and completion >= detection.completion_threshold):
        return True
    is_question = transcript is not None and is_whole_question(transcript)
    return is_question and silence_ms >= detection.min_silence_ms + QUESTION_MARGIN_MS


def is_whole_question(transcript: str) -> bool:
    """Return whether the words are a question: marked as one, or a complete sentence that begins like one (English)."""
    text = transcript.rstrip()
    if text.endswith("?"):
        return True
    words = re.split(r"[.!?,]\s+", text)[-1].split()
    return text.endswith((".", "!")) and len(words) > 2 and words[0].lower() in QUESTION_WORDS


def latest_silence_ms(detection: TurnDetection) -> int:
    """Return the silence after which the turn is over however it sounded."""
    is_semantic = detection.kind is TurnDetectionKind.SEMANTIC_VAD
    return detection.max_silence_ms if is_semantic else detection.silence_duration_ms
