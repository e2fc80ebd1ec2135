"""Translates client events to stimuli of the session core. The translator itself handles audio and `session.update`."""

from __future__ import annotations

from pipelines.errors import PeerError
from pipelines.session.settings import Modality
from pipelines.session.stimuli import (
    AudioClearRequested,
    AudioCommitRequested,
    ItemCreateRequested,
    ItemDeleteRequested,
    ItemRetrieveRequested,
    ItemTruncateRequested,
    ResponseCancelRequested,
    ResponseCreateRequested,
    Stimulus,
)
from pipelines.wire.client_events import (
    ConversationItemCreate,
    ConversationItemDelete,
    ConversationItemRetrieve,
    ConversationItemTruncate,
    InputAudioBufferClear,
    InputAudioBufferCommit,
    OutputAudioBufferClear,
    ResponseCancel,
    ResponseCreate,
    ResponseParams,
)
from pipelines.wire.session_object import AudioOutput, VoiceId
from pipelines.wire.translate.items import item_from_wire
from pipelines.wire.translate.session_view import SessionView

PlainEvent = (
    InputAudioBufferCommit
    | InputAudioBufferClear
    | ConversationItemCreate
    | ConversationItemRetrieve
    | ConversationItemTruncate
    | ConversationItemDelete
    | ResponseCancel
    | OutputAudioBufferClear
)


def stimulus_from(event: PlainEvent) -> Stimulus:
    """Return the stimulus that is equivalent to `event`.

    Raises:
        PeerError: the event belongs to another transport.
    """
    match event:
        case InputAudioBufferCommit():
            return AudioCommitRequested(event.event_id)
        case InputAudioBufferClear():
            return AudioClearRequested(event.event_id)
        case ConversationItemCreate():
            return ItemCreateRequested(item_from_wire(event.item), event.previous_item_id, event.event_id)
        case ConversationItemRetrieve():
            return ItemRetrieveRequested(event.item_id, event.event_id)
        case ConversationItemTruncate():
            return ItemTruncateRequested(event.item_id, event.content_index, event.audio_end_ms, event.event_id)
        case ConversationItemDelete():
            return ItemDeleteRequested(event.item_id, event.event_id)
        case ResponseCancel():
            return ResponseCancelRequested(event.response_id, event.event_id)
        case OutputAudioBufferClear():
            message = "output_audio_buffer.clear is for WebRTC and SIP; on a WebSocket the client owns playback."
            raise PeerError("unsupported_event", message, param="type", event_id=event.event_id)


def response_request_from(
    event: ResponseCreate, view: SessionView, conversation_id: str, *, is_voice_fixed: bool
) -> ResponseCreateRequested:
    """Return the request for a response.

    Raises:
        PeerError: the session gives no responses, or the event asks for something that this response cannot have.
    """
    if view.is_transcription:
        message = "A transcription session gives no responses."
        raise PeerError("unsupported_event", message, param="type", event_id=event.event_id)
    asked = event.response or ResponseParams()
    if asked.conversation not in (None, "auto", "none", conversation_id):
        message = "conversation must be 'auto' or 'none'."
        raise PeerError("invalid_value", message, param="response.conversation", event_id=event.event_id)
    limit = asked.max_output_tokens
    return ResponseCreateRequested(
        instructions=asked.instructions,
        modality=Modality(asked.output_modalities[0]) if asked.output_modalities else None,
        voice=_response_voice(event, view, is_voice_fixed=is_voice_fixed),
        max_output_tokens=limit if isinstance(limit, int) else None,
        metadata=tuple((asked.metadata or {}).items()),
        is_out_of_band=asked.conversation == "none",
        input_items=None if asked.input is None else tuple(item_from_wire(shape) for shape in asked.input),
        event_id=event.event_id,
    )


def _response_voice(event: ResponseCreate, view: SessionView, *, is_voice_fixed: bool) -> str | None:
    audio = event.response.audio if event.response else None
    output = (audio.output if audio else None) or AudioOutput()
    if output.format and output.format.type != view.output_format.value:
        message = "A response has the session's output format; change it with session.update."
        raise PeerError("invalid_value", message, param="response.audio.output.format", event_id=event.event_id)
    voice = output.voice.id if isinstance(output.voice, VoiceId) else output.voice
    if voice is not None and voice != view.voice and is_voice_fixed:
        raise voice_is_fixed("response.audio.output.voice", event.event_id)
    return voice


def voice_is_fixed(param: str, event_id: str | None) -> PeerError:
    """Return the error for changing the voice after the caller has heard it."""
    message = "Cannot update a conversation's voice if assistant audio is present."
    return PeerError("cannot_update_voice", message, param=param, event_id=event_id)
