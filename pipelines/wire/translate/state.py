"""What a translator remembers of a session, as plain data, so that another process can continue it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.audio.resample import ResamplerState
from pipelines.session.settings import Modality, SessionSettings
from pipelines.wire.audio_streams import WireFormat


@dataclass(frozen=True, slots=True)
class OpenResponse:
    """A response that was opened on the wire and is not closed yet.

    Attributes:
        wire_format, audio: format of its audio, and position of the encoder's stream.
        has_item: whether its output item has been announced, following `previous_item_id`.
    """

    response_id: str
    modality: Modality
    voice: str
    is_out_of_band: bool
    wire_format: WireFormat
    audio: ResamplerState
    has_item: bool
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class WireState:
    """One session as its client sees it.

    Attributes:
        session_object: the session object, merged from the server's defaults and the client's updates.
        defaults: settings of a session that the client has not configured.
        next_event: number of the next server event.
        has_sent_audio: whether the caller has heard the voice, which can then no longer be changed.
        responses: the open responses, in the order in which they began.
        input_audio: position of the stream of the client's audio.
    """

    session_id: str
    session_object: dict[str, Any]
    defaults: SessionSettings
    expires_at_s: int
    private_events: bool
    next_event: int
    has_sent_audio: bool
    responses: tuple[OpenResponse, ...]
    input_audio: ResamplerState
