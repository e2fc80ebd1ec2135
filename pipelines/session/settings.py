"""The settings of a session. They are frozen; a change replaces the whole value."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class TurnDetectionKind(StrEnum):
    SERVER_VAD = "server_vad"
    SEMANTIC_VAD = "semantic_vad"


class Modality(StrEnum):
    AUDIO = "audio"
    TEXT = "text"


class Eagerness(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """How the end of a caller's turn is found.

    Attributes:
        kind: `server_vad` ends a turn after `silence_duration_ms`; `semantic_vad` asks the turn model from
            `min_silence_ms` on and ends it after `max_silence_ms` at the latest.
        threshold: speech probability (0.0 to 1.0) at which a window counts as speech.
        prefix_padding_ms: amount of audio kept from before the detected start.
        min_speech_ms: voiced audio required before speech counts as started, since clicks are shorter.
        speculation_silence_ms: silence after which recognition and an answer are started speculatively.
        completion_threshold: probability from the turn model at which the turn counts as complete.
        create_response: whether each turn is answered without a request.
        interrupt_response: whether the caller's speech cancels the response in progress.
        idle_timeout_ms: silence following an answer after which the agent speaks up; None means never.
    """

    kind: TurnDetectionKind = TurnDetectionKind.SEMANTIC_VAD
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    min_speech_ms: int = 64
    min_silence_ms: int = 192
    max_silence_ms: int = 1200
    speculation_silence_ms: int = 64
    completion_threshold: float = 0.5
    eagerness: Eagerness = Eagerness.AUTO
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """One session's settings. `turn_detection` None means manual turns (the client commits).

    Attributes:
        max_output_tokens: upper bound for one answer; None means the agent's own bound.
        speculate: whether answers start before the end of the turn is certain (a busy gateway turns this off).
        reply_timeout_ms: time without progress after which a reply fails.
        max_utterance_ms: length at which an utterance is ended by force.
    """

    instructions: str = ""
    modality: Modality = Modality.AUDIO
    voice: str = "default"
    speed: float = 1.0
    turn_detection: TurnDetection | None = field(default_factory=TurnDetection)
    max_output_tokens: int | None = None
    speculate: bool = True
    reply_timeout_ms: int = 20_000
    max_utterance_ms: int = 60_000
