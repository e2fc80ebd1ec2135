"""Everything a session can ask for: notices to the client and orders to the engines.

Notices come in the order in which the client must see them. The wire translator expands each into protocol events.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipelines.session.items import Item, Role
from pipelines.session.settings import Modality, SessionSettings

# --- notices: session -> client ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SettingsApplied:
    settings: SessionSettings


@dataclass(frozen=True, slots=True)
class Refused:
    """The client asked for something that cannot be done, and nothing has changed."""

    code: str
    message: str
    param: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak. The utterance will become the item `item_id`."""

    item_id: str
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller's turn ended. `audio_end_ms` includes the silence that decided it."""

    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class AudioCommitted:
    item_id: str
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class AudioCleared:
    pass


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """An item created by the client, or a committed utterance, was added to the conversation."""

    item: Item
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class ItemRetrieved:
    item: Item


@dataclass(frozen=True, slots=True)
class ItemTruncated:
    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class ItemDeleted:
    item_id: str


@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """The text so far of an utterance that is not committed yet (a private, opt-in event)."""

    item_id: str
    text: str
    stable_chars: int


@dataclass(frozen=True, slots=True)
class TranscriptCompleted:
    """The transcript of a committed utterance of `audio_ms` length."""

    item_id: str
    text: str
    audio_ms: int


@dataclass(frozen=True, slots=True)
class TranscriptUnavailable:
    """Recognition of a committed utterance failed."""

    item_id: str
    message: str


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """A response has begun. `generation` identifies the attempt behind it, for observers."""

    response_id: str
    modality: Modality
    voice: str
    metadata: tuple[tuple[str, str], ...]
    is_out_of_band: bool
    generation: int = 0


@dataclass(frozen=True, slots=True)
class AnswerItemStarted:
    """The response begins its one output item; the item is in the conversation from now on (unless out of band)."""

    response_id: str
    item_id: str
    previous_item_id: str | None
    modality: Modality


@dataclass(frozen=True, slots=True)
class AnswerText:
    """More text of the answer (a transcript delta when the modality is audio)."""

    response_id: str
    item_id: str
    modality: Modality
    delta: str


@dataclass(frozen=True, slots=True)
class AnswerAudio:
    """More audio of the answer."""

    response_id: str
    item_id: str
    pcm_24k: bytes


class ResponseStatus(StrEnum):
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class ResponseFinished:
    """A response has ended. Sent exactly once for each `ResponseStarted`.

    Attributes:
        reason: `turn_detected`, `client_cancelled`, `max_output_tokens` or "" (completed, failed).
        item: the output item as it stands, or None when there was no output.
        error: message of a failed response; "" otherwise.
    """

    response_id: str
    status: ResponseStatus
    reason: str
    item: Item | None
    modality: Modality
    voice: str
    metadata: tuple[tuple[str, str], ...]
    is_out_of_band: bool
    input_tokens: int
    output_tokens: int
    error: str = ""


# --- orders: session -> engines (performed by the runner) -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenUtterance:
    """Open a transcript stream for the utterance that starts at `start_ms`, and push all audio from that point on.

    `end_ms` ends the audio for an utterance that was committed before another process took the call over.
    """

    item_id: str
    start_ms: int
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class FinalizeTranscript:
    """Answer with `TranscriptReady` or `TranscriptFailed` for the audio pushed so far."""

    item_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class SealUtterance:
    """Push no more audio for this utterance. Its transcript is still awaited."""

    item_id: str


@dataclass(frozen=True, slots=True)
class CloseUtterance:
    """Free the utterance's stream, since no more results are needed from it."""

    item_id: str


@dataclass(frozen=True, slots=True)
class JudgeTurn:
    """Ask the turn model about the session audio from `start_ms` to `end_ms`; answer with `TurnJudged`."""

    generation: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the conversation so far, as the caller heard it."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class StartAnswer:
    """Answer `question`; deliver `ClauseReady` until one is last, or `AnswerFailed`."""

    generation: int
    question: str
    history: tuple[Line, ...]
    instructions: str
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Synthesize:
    """Speak clause number `clause`; deliver `AudioReady` in order, then `ClauseSpoken`, or `SynthesisFailed`."""

    generation: int
    clause: int
    text: str
    voice: str
    speed: float


@dataclass(frozen=True, slots=True)
class CancelGeneration:
    """Stop judging, answering and synthesizing for `generation`. Results that still arrive are dropped."""

    generation: int


Notice = (
    SettingsApplied
    | Refused
    | SpeechStarted
    | SpeechStopped
    | AudioCommitted
    | AudioCleared
    | ItemAdded
    | ItemRetrieved
    | ItemTruncated
    | ItemDeleted
    | PartialTranscript
    | TranscriptCompleted
    | TranscriptUnavailable
    | ResponseStarted
    | AnswerItemStarted
    | AnswerText
    | AnswerAudio
    | ResponseFinished
)
Order = (
    OpenUtterance
    | FinalizeTranscript
    | SealUtterance
    | CloseUtterance
    | JudgeTurn
    | StartAnswer
    | Synthesize
    | CancelGeneration
)
Effect = Notice | Order
