"""Every event that the server may send: one frozen class for each wire `type`, named after it.

`serialize` is the only way out. The classes are plain dataclasses because every call writes an audio delta each 20 to
100 ms, and orjson serialises dataclasses without an intermediate dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from pipelines.wire.payloads import (
    ContentPart,
    DurationUsage,
    ErrorPayload,
    ItemPayload,
    RateLimit,
    ResponsePayload,
    TranscriptionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _ResponsePart(_Event):
    """Locates an event within a response. A response has one output item with one content part."""

    response_id: str
    item_id: str
    output_index: int = 0
    content_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(_Event):
    error: ErrorPayload
    type: Literal["error"] = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(_Event):
    session: Mapping[str, Any]
    type: Literal["session.created"] = "session.created"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdated(_Event):
    session: Mapping[str, Any]
    type: Literal["session.updated"] = "session.updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItemAdded(_Event):
    previous_item_id: str | None
    item: ItemPayload
    type: Literal["conversation.item.added"] = "conversation.item.added"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItemDone(_Event):
    previous_item_id: str | None
    item: ItemPayload
    type: Literal["conversation.item.done"] = "conversation.item.done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItemRetrieved(_Event):
    item: ItemPayload
    type: Literal["conversation.item.retrieved"] = "conversation.item.retrieved"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItemTruncated(_Event):
    item_id: str
    content_index: int
    audio_end_ms: int
    type: Literal["conversation.item.truncated"] = "conversation.item.truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItemDeleted(_Event):
    item_id: str
    type: Literal["conversation.item.deleted"] = "conversation.item.deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItemInputAudioTranscriptionDelta(_Event):
    item_id: str
    content_index: int = 0
    delta: str
    type: Literal["conversation.item.input_audio_transcription.delta"] = (
        "conversation.item.input_audio_transcription.delta"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItemInputAudioTranscriptionCompleted(_Event):
    item_id: str
    content_index: int = 0
    transcript: str
    usage: DurationUsage
    type: Literal["conversation.item.input_audio_transcription.completed"] = (
        "conversation.item.input_audio_transcription.completed"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItemInputAudioTranscriptionFailed(_Event):
    item_id: str
    content_index: int = 0
    error: TranscriptionError
    type: Literal["conversation.item.input_audio_transcription.failed"] = (
        "conversation.item.input_audio_transcription.failed"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class InputAudioBufferCommitted(_Event):
    previous_item_id: str | None
    item_id: str
    type: Literal["input_audio_buffer.committed"] = "input_audio_buffer.committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputAudioBufferCleared(_Event):
    type: Literal["input_audio_buffer.cleared"] = "input_audio_buffer.cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputAudioBufferSpeechStarted(_Event):
    audio_start_ms: int
    item_id: str
    type: Literal["input_audio_buffer.speech_started"] = "input_audio_buffer.speech_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputAudioBufferSpeechStopped(_Event):
    audio_end_ms: int
    item_id: str
    type: Literal["input_audio_buffer.speech_stopped"] = "input_audio_buffer.speech_stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputAudioBufferTimeoutTriggered(_Event):
    """Sent only to clients that set `idle_timeout_ms`, since other stock clients do not know the event."""

    audio_start_ms: int
    audio_end_ms: int
    item_id: str
    type: Literal["input_audio_buffer.timeout_triggered"] = "input_audio_buffer.timeout_triggered"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseCreated(_Event):
    response: ResponsePayload
    type: Literal["response.created"] = "response.created"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseDone(_Event):
    response: ResponsePayload
    type: Literal["response.done"] = "response.done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOutputItemAdded(_Event):
    response_id: str
    output_index: int = 0
    item: ItemPayload
    type: Literal["response.output_item.added"] = "response.output_item.added"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOutputItemDone(_Event):
    response_id: str
    output_index: int = 0
    item: ItemPayload
    type: Literal["response.output_item.done"] = "response.output_item.done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseContentPartAdded(_ResponsePart):
    part: ContentPart
    type: Literal["response.content_part.added"] = "response.content_part.added"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseContentPartDone(_ResponsePart):
    part: ContentPart
    type: Literal["response.content_part.done"] = "response.content_part.done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOutputTextDelta(_ResponsePart):
    delta: str
    type: Literal["response.output_text.delta"] = "response.output_text.delta"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOutputTextDone(_ResponsePart):
    text: str
    type: Literal["response.output_text.done"] = "response.output_text.done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOutputAudioDelta(_ResponsePart):
    """A piece of audio. `delta` is base64 of audio in the session's output format."""

    delta: str
    type: Literal["response.output_audio.delta"] = "response.output_audio.delta"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOutputAudioDone(_ResponsePart):
    type: Literal["response.output_audio.done"] = "response.output_audio.done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOutputAudioTranscriptDelta(_ResponsePart):
    delta: str
    type: Literal["response.output_audio_transcript.delta"] = "response.output_audio_transcript.delta"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOutputAudioTranscriptDone(_ResponsePart):
    transcript: str
    type: Literal["response.output_audio_transcript.done"] = "response.output_audio_transcript.done"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitsUpdated(_Event):
    """Rate limits of the client. Sent only when there is a quota to report."""

    rate_limits: tuple[RateLimit, ...]
    type: Literal["rate_limits.updated"] = "rate_limits.updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxrayTranscriptPartial(_Event):
    """The text heard so far, of which the first `stable_chars` will not change (a private, opt-in event)."""

    item_id: str
    text: str
    stable_chars: int
    type: Literal["voxray.transcript.partial"] = "voxray.transcript.partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxrayTrace(_Event):
    """When each stage of a turn was reached, in ms (a private, opt-in event)."""

    marks: Mapping[str, Any]
    type: Literal["voxray.trace"] = "voxray.trace"


ServerEvent = (
    Error
    | SessionCreated
    | SessionUpdated
    | ConversationItemAdded
    | ConversationItemDone
    | ConversationItemRetrieved
    | ConversationItemTruncated
    | ConversationItemDeleted
    | ConversationItemInputAudioTranscriptionDelta
    | ConversationItemInputAudioTranscriptionCompleted
    | ConversationItemInputAudioTranscriptionFailed
    | InputAudioBufferCommitted
    | InputAudioBufferCleared
    | InputAudioBufferSpeechStarted
    | InputAudioBufferSpeechStopped
    | InputAudioBufferTimeoutTriggered
    | ResponseCreated
    | ResponseDone
    | ResponseOutputItemAdded
    | ResponseOutputItemDone
    | ResponseContentPartAdded
    | ResponseContentPartDone
    | ResponseOutputTextDelta
    | ResponseOutputTextDone
    | ResponseOutputAudioDelta
    | ResponseOutputAudioDone
    | ResponseOutputAudioTranscriptDelta
    | ResponseOutputAudioTranscriptDone
    | RateLimitsUpdated
    | VoxrayTranscriptPartial
    | VoxrayTrace
)


def serialize(event: ServerEvent) -> bytes:
    """Return the event as one UTF-8 JSON text message."""
    return orjson.dumps(event)
