"""Every event that a client may send. `parse_client_event` is the only way in.

The union is closed, with one class for each wire `type`, named after it. Audio bypasses pydantic, because each core of
a gateway parses thousands of `input_audio_buffer.append` events a second and that event has only one field.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args

import orjson
from pydantic import Field, ValidationError

from pipelines.errors import PeerError
from pipelines.wire.item_shapes import ItemId, ItemShape
from pipelines.wire.peer_faults import peer_error_from, salvage_event_id
from pipelines.wire.session_object import (
    FunctionTool,
    JsonObject,
    MaxOutputTokens,
    Modalities,
    SessionAudio,
    SessionObject,
    ToolChoice,
    WireModel,
)

MAX_AUDIO_BYTES: Final = 15 * 1024 * 1024
MAX_FRAME_BYTES: Final = MAX_AUDIO_BYTES * 4 // 3 + 64 * 1024
MAX_CONTROL_BYTES: Final = 1024 * 1024
MAX_EVENT_ID_CHARS: Final = 512


@dataclass(frozen=True, slots=True)
class InputAudioBufferAppend:
    """Audio from the client. `audio` is decoded from base64 but still in the session's input format."""

    audio: bytes
    event_id: str | None = None
    type: Literal["input_audio_buffer.append"] = "input_audio_buffer.append"


class _Event(WireModel):
    event_id: str | None = None


class SessionUpdate(_Event):
    type: Literal["session.update"]
    session: SessionObject


class InputAudioBufferCommit(_Event):
    type: Literal["input_audio_buffer.commit"]


class InputAudioBufferClear(_Event):
    type: Literal["input_audio_buffer.clear"]


class ConversationItemCreate(_Event):
    type: Literal["conversation.item.create"]
    item: ItemShape
    previous_item_id: ItemId | None = None


class ConversationItemRetrieve(_Event):
    type: Literal["conversation.item.retrieve"]
    item_id: ItemId


class ConversationItemTruncate(_Event):
    type: Literal["conversation.item.truncate"]
    item_id: ItemId
    content_index: Annotated[int, Field(ge=0)]
    audio_end_ms: Annotated[int, Field(ge=0)]


class ConversationItemDelete(_Event):
    type: Literal["conversation.item.delete"]
    item_id: ItemId


_MetadataKey = Annotated[str, Field(max_length=64)]
_MetadataValue = Annotated[str, Field(max_length=512)]


class ResponseParams(WireModel):
    """Settings of one response that differ from the session's."""

    conversation: str | None = None
    input: list[ItemShape] | None = None
    instructions: str | None = None
    output_modalities: Modalities | None = None
    audio: SessionAudio | None = None
    max_output_tokens: MaxOutputTokens | None = None
    metadata: Annotated[dict[_MetadataKey, _MetadataValue], Field(max_length=16)] | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: ToolChoice | None = None
    prompt: JsonObject | None = None


class ResponseCreate(_Event):
    type: Literal["response.create"]
    response: ResponseParams | None = None


class ResponseCancel(_Event):
    type: Literal["response.cancel"]
    response_id: str | None = None


class OutputAudioBufferClear(_Event):
    """Used by WebRTC and SIP only, since on a WebSocket the client owns playback."""

    type: Literal["output_audio_buffer.clear"]


ControlEvent = (
    SessionUpdate
    | InputAudioBufferCommit
    | InputAudioBufferClear
    | ConversationItemCreate
    | ConversationItemRetrieve
    | ConversationItemTruncate
    | ConversationItemDelete
    | ResponseCreate
    | ResponseCancel
    | OutputAudioBufferClear
)
ClientEvent = InputAudioBufferAppend | ControlEvent


def _wire_type(model: type[ControlEvent]) -> str:
    (name,) = get_args(model.model_fields["type"].annotation)
    return str(name)


_MODELS: Final[dict[str, type[ControlEvent]]] = {_wire_type(model): model for model in get_args(ControlEvent)}
CLIENT_EVENT_TYPES: Final = frozenset({"input_audio_buffer.append", *_MODELS})


def parse_client_event(text: str | bytes) -> ClientEvent:
    """Return the event that one WebSocket message holds.

    Raises:
        PeerError: the message is not a valid event. `param` names the field at fault, and `event_id` is the client's id
            of the event if it can be read.
    """
    if len(text) > MAX_FRAME_BYTES:
        raise PeerError("event_too_large", f"An event may be at most {MAX_FRAME_BYTES} bytes.")
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise PeerError("invalid_json", "The event is not valid JSON.", event_id=salvage_event_id(text)) from None
    if not isinstance(frame, dict):
        raise PeerError("invalid_json", "The event must be a JSON object.")
    event_id = _event_id(frame)
    event_type = frame.get("type")
    if event_type == "input_audio_buffer.append":
        return InputAudioBufferAppend(_decode_audio(frame, event_id), event_id)
    if len(text) > MAX_CONTROL_BYTES:
        raise PeerError("event_too_large", f"This event may be at most {MAX_CONTROL_BYTES} bytes.", event_id=event_id)
    return _validate(frame, event_type, event_id)


def _event_id(frame: dict[str, Any]) -> str | None:
    event_id = frame.get("event_id")
    if event_id is None:
        return None
    if not isinstance(event_id, str):
        raise PeerError("invalid_type", "event_id must be a string.", param="event_id")
    if len(event_id) > MAX_EVENT_ID_CHARS:
        raise PeerError("invalid_value", f"event_id may have {MAX_EVENT_ID_CHARS} characters.", param="event_id")
    return event_id


def _decode_audio(frame: dict[str, Any], event_id: str | None) -> bytes:
    audio = frame.get("audio")
    if audio is None:
        code, message = "missing_required_parameter", "Missing required parameter: 'audio'."
    elif not isinstance(audio, str):
        code, message = "invalid_type", "audio must be a base64 string."
    else:
        try:
            pcm = binascii.a2b_base64(audio, strict_mode=True) if audio else b""
        except ValueError:  # binascii.Error, or characters outside ASCII
            code, message = "invalid_base64", "audio is not valid base64."
        else:
            if len(pcm) <= MAX_AUDIO_BYTES:
                return pcm
            code, message = "audio_too_large", f"One append may hold at most {MAX_AUDIO_BYTES} bytes of audio."
    raise PeerError(code, message, param="audio", event_id=event_id)


def _validate(frame: dict[str, Any], event_type: object, event_id: str | None) -> ControlEvent:
    if event_type is None:
        raise PeerError(
            "missing_required_parameter", "Missing required parameter: 'type'.", param="type", event_id=event_id
        )
    model = _MODELS.get(event_type) if isinstance(event_type, str) else None
    if model is None:
        supported = ", ".join(sorted(CLIENT_EVENT_TYPES))
        raise PeerError(
            "invalid_value", f"Unknown event type. Supported types are: {supported}.", param="type", event_id=event_id
        )
    try:
        return model.model_validate(frame)
    except ValidationError as error:
        raise peer_error_from(error, frame, event_id) from None
