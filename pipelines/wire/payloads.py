"""The objects inside server events: items, content parts, responses, usage. Field order is wire order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class TextContent:
    type: Literal["input_text", "output_text"]
    text: str


@dataclass(frozen=True, slots=True)
class AudioContent:
    """Spoken content, represented by its words. `transcript` is None until recognition has finished."""

    type: Literal["input_audio", "output_audio"]
    transcript: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageItem:
    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    status: str
    role: str
    content: tuple[TextContent | AudioContent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCallItem:
    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["function_call"] = "function_call"
    status: str
    name: str
    call_id: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCallOutputItem:
    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["function_call_output"] = "function_call_output"
    status: str
    call_id: str
    output: str


ItemPayload = MessageItem | FunctionCallItem | FunctionCallOutputItem


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class AudioPart:
    transcript: str
    type: Literal["audio"] = "audio"


ContentPart = TextPart | AudioPart


@dataclass(frozen=True, slots=True)
class InputTokenDetails:
    text_tokens: int
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class OutputTokenDetails:
    text_tokens: int
    audio_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: InputTokenDetails
    output_token_details: OutputTokenDetails


@dataclass(frozen=True, slots=True)
class ResponseError:
    """Why a response failed. The SDK's model has no `message` and ignores it; pipecat shows it to the application."""

    type: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CutShortDetails:
    """Why a response was cancelled or is incomplete."""

    type: Literal["cancelled", "incomplete"]
    reason: str | None


@dataclass(frozen=True, slots=True)
class FailedDetails:
    error: ResponseError
    type: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class ResponseAudioOutput:
    format: Mapping[str, Any]
    voice: str


@dataclass(frozen=True, slots=True)
class ResponseAudio:
    output: ResponseAudioOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsePayload:
    """A response. `conversation_id` is None when it is out of band."""

    id: str
    object: Literal["realtime.response"] = "realtime.response"
    status: Literal["in_progress", "completed", "cancelled", "failed", "incomplete"]
    status_details: CutShortDetails | FailedDetails | None = None
    output: tuple[ItemPayload, ...] = ()
    conversation_id: str | None
    output_modalities: tuple[str, ...]
    audio: ResponseAudio | None
    usage: Usage | None = None
    metadata: Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPayload:
    """An error. `event_id` is the client's id of the event at fault."""

    type: Literal["invalid_request_error", "server_error"]
    code: str
    message: str
    param: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class TranscriptionError:
    code: str
    message: str
    type: str = "transcription_error"
    param: None = None


@dataclass(frozen=True, slots=True)
class DurationUsage:
    """Usage of a transcription, measured by the length of its audio."""

    seconds: float
    type: Literal["duration"] = "duration"


@dataclass(frozen=True, slots=True)
class RateLimit:
    name: Literal["requests", "tokens"]
    limit: int
    remaining: int
    reset_seconds: float
