"""Translates notices about responses to the protocol's events, in the protocol's order.

A response is framed on the wire by four brackets, opened in this order and closed in the reverse one: the response,
its output item, the item in the conversation (not out of band), and the item's content part.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pipelines.session.effects import (
    AnswerAudio,
    AnswerItemStarted,
    AnswerText,
    ResponseFinished,
    ResponseStarted,
    ResponseStatus,
)
from pipelines.session.items import Item, ItemStatus, Role
from pipelines.session.settings import Modality
from pipelines.wire.audio_streams import OutputAudioEncoder, WireFormat
from pipelines.wire.payloads import (
    AudioPart,
    ContentPart,
    CutShortDetails,
    FailedDetails,
    InputTokenDetails,
    MessageItem,
    OutputTokenDetails,
    ResponseAudio,
    ResponseAudioOutput,
    ResponseError,
    ResponsePayload,
    TextPart,
    Usage,
)
from pipelines.wire.server_events import (
    ConversationItemAdded,
    ConversationItemDone,
    ResponseContentPartAdded,
    ResponseContentPartDone,
    ResponseCreated,
    ResponseDone,
    ResponseOutputAudioDelta,
    ResponseOutputAudioDone,
    ResponseOutputAudioTranscriptDelta,
    ResponseOutputAudioTranscriptDone,
    ResponseOutputItemAdded,
    ResponseOutputItemDone,
    ResponseOutputTextDelta,
    ResponseOutputTextDone,
    ServerEvent,
)
from pipelines.wire.translate.items import item_to_wire
from pipelines.wire.translate.session_view import SessionView, format_echo
from pipelines.wire.translate.state import OpenResponse

MAX_DELTA_S: Final = 1  # well below the default message limit of stock WebSocket clients, 1 MiB


@dataclass(slots=True)
class _Framed:
    """An open response and its audio stream."""

    modality: Modality
    voice: str
    is_out_of_band: bool
    encoder: OutputAudioEncoder
    has_item: bool = False
    previous_item_id: str | None = None


class AnswerEvents:
    """Expands the notices of responses, of which several may be open at once, and keeps the audio stream of each."""

    def __init__(self, conversation_id: str, next_event_id: Callable[[], str]) -> None:
        self._conversation_id = conversation_id
        self._next_event_id = next_event_id
        self._open: dict[str, _Framed] = {}
        self.has_sent_audio = False

    def save(self) -> tuple[OpenResponse, ...]:
        """Return the open responses with their audio streams."""
        return tuple(
            OpenResponse(
                response_id,
                framed.modality,
                framed.voice,
                framed.is_out_of_band,
                framed.encoder.wire_format,
                framed.encoder.save(),
                framed.has_item,
                framed.previous_item_id,
            )
            for response_id, framed in self._open.items()
        )

    def resume(self, responses: Iterable[OpenResponse], *, has_sent_audio: bool) -> None:
        """Continue responses that another process has opened."""
        self.has_sent_audio = has_sent_audio
        for left in responses:
            encoder = OutputAudioEncoder(left.wire_format, left.audio)
            self._open[left.response_id] = _Framed(
                left.modality, left.voice, left.is_out_of_band, encoder, left.has_item, left.previous_item_id
            )

    def started(self, notice: ResponseStarted, view: SessionView) -> Iterator[ServerEvent]:
        encoder = OutputAudioEncoder(view.output_format)
        self._open[notice.response_id] = _Framed(notice.modality, notice.voice, notice.is_out_of_band, encoder)
        yield ResponseCreated(
            event_id=self._next_event_id(),
            response=ResponsePayload(
                id=notice.response_id,
                status="in_progress",
                conversation_id=None if notice.is_out_of_band else self._conversation_id,
                output_modalities=(notice.modality.value,),
                audio=_response_audio(encoder, notice.voice),
                metadata=dict(notice.metadata) or None,
            ),
        )

    def item_started(self, notice: AnswerItemStarted) -> Iterator[ServerEvent]:
        response = self._open[notice.response_id]
        response.has_item, response.previous_item_id = True, notice.previous_item_id
        item = MessageItem(
            id=notice.item_id, status=ItemStatus.IN_PROGRESS.value, role=Role.ASSISTANT.value, content=()
        )
        yield ResponseOutputItemAdded(event_id=self._next_event_id(), response_id=notice.response_id, item=item)
        if not response.is_out_of_band:
            yield ConversationItemAdded(
                event_id=self._next_event_id(), previous_item_id=notice.previous_item_id, item=item
            )
        yield ResponseContentPartAdded(
            event_id=self._next_event_id(),
            response_id=notice.response_id,
            item_id=notice.item_id,
            part=_part(notice.modality, ""),
        )

    def text(self, notice: AnswerText) -> Iterator[ServerEvent]:
        event_type = (
            ResponseOutputAudioTranscriptDelta if notice.modality is Modality.AUDIO else ResponseOutputTextDelta
        )
        yield event_type(
            event_id=self._next_event_id(),
            response_id=notice.response_id,
            item_id=notice.item_id,
            delta=notice.delta,
        )

    def audio(self, notice: AnswerAudio) -> Iterator[ServerEvent]:
        encoder = self._open[notice.response_id].encoder
        coded = encoder.encode(notice.pcm_24k)
        yield from self._audio_deltas(notice.response_id, notice.item_id, encoder.wire_format, coded)

    def finished(self, notice: ResponseFinished) -> Iterator[ServerEvent]:
        response = self._open.pop(notice.response_id)
        item = notice.item
        if item is not None and response.has_item:
            yield from self._close_item(notice, response, item)
        yield ResponseDone(
            event_id=self._next_event_id(),
            response=ResponsePayload(
                id=notice.response_id,
                status=notice.status.value,
                status_details=_status_details(notice),
                output=() if item is None else (item_to_wire(item),),
                conversation_id=None if notice.is_out_of_band else self._conversation_id,
                output_modalities=(notice.modality.value,),
                audio=_response_audio(response.encoder, notice.voice),
                usage=_usage(notice),
                metadata=dict(notice.metadata) or None,
            ),
        )

    def _close_item(self, notice: ResponseFinished, response: _Framed, item: Item) -> Iterator[ServerEvent]:
        text, response_id = item.text or "", notice.response_id
        if response.modality is Modality.AUDIO:
            if notice.status in {ResponseStatus.COMPLETED, ResponseStatus.INCOMPLETE}:
                yield from self._audio_deltas(
                    response_id, item.id, response.encoder.wire_format, response.encoder.flush()
                )
            yield ResponseOutputAudioDone(event_id=self._next_event_id(), response_id=response_id, item_id=item.id)
            yield ResponseOutputAudioTranscriptDone(
                event_id=self._next_event_id(), response_id=response_id, item_id=item.id, transcript=text
            )
        else:
            yield ResponseOutputTextDone(
                event_id=self._next_event_id(), response_id=response_id, item_id=item.id, text=text
            )
        yield ResponseContentPartDone(
            event_id=self._next_event_id(),
            response_id=response_id,
            item_id=item.id,
            part=_part(response.modality, text),
        )
        payload = item_to_wire(item)
        yield ResponseOutputItemDone(event_id=self._next_event_id(), response_id=response_id, item=payload)
        if not response.is_out_of_band:
            yield ConversationItemDone(
                event_id=self._next_event_id(), previous_item_id=response.previous_item_id, item=payload
            )

    def _audio_deltas(
        self, response_id: str, item_id: str, wire_format: WireFormat, coded: bytes
    ) -> Iterator[ServerEvent]:
        step = MAX_DELTA_S * wire_format.bytes_per_second
        for start in range(0, len(coded), step):
            self.has_sent_audio = True
            yield ResponseOutputAudioDelta(
                event_id=self._next_event_id(),
                response_id=response_id,
                item_id=item_id,
                delta=binascii.b2a_base64(coded[start : start + step], newline=False).decode("ascii"),
            )


def _part(modality: Modality, text: str) -> ContentPart:
    return AudioPart(text) if modality is Modality.AUDIO else TextPart(text)


def _response_audio(encoder: OutputAudioEncoder, voice: str) -> ResponseAudio:
    return ResponseAudio(ResponseAudioOutput(format_echo(encoder.wire_format), voice))


def _status_details(notice: ResponseFinished) -> CutShortDetails | FailedDetails | None:
    match notice.status:
        case ResponseStatus.COMPLETED:
            return None
        case ResponseStatus.FAILED:
            return FailedDetails(ResponseError("server_error", "response_failed", notice.error))
        case ResponseStatus.CANCELLED:
            return CutShortDetails("cancelled", notice.reason or None)
        case ResponseStatus.INCOMPLETE:
            return CutShortDetails("incomplete", notice.reason or None)


def _usage(notice: ResponseFinished) -> Usage:
    """Count all tokens as text tokens, since separate models recognise and synthesize speech."""
    return Usage(
        total_tokens=notice.input_tokens + notice.output_tokens,
        input_tokens=notice.input_tokens,
        output_tokens=notice.output_tokens,
        input_token_details=InputTokenDetails(notice.input_tokens),
        output_token_details=OutputTokenDetails(notice.output_tokens),
    )
