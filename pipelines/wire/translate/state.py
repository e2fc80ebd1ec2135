"""What a translator remembers of a session, as plain data, so that another process can go on with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.audio.resample import ResamplerState
from pipelines.session.settings import Modality, SessionSettings
from pipelines.wire.audio_streams import WireFormat


@dataclass(frozen=True, slots=True)
class OpenResponse:
    """A response that is framed on the wire and not closed yet.

    Attributes:
        wire_format, audio: format of its audio, and where the encoder's stream is.
        has_item: its output item has been announced, after `previous_item_id`.
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
        session_object: as merged from the server's defaults and the client's updates.
        defaults: settings of a session that the client has not configured.
        next_event: number of the next server event.
        has_sent_audio: the caller has heard the voice, which can then not be changed any more.
        responses: those that are open, in the order in which they began.
        input_audio: where the stream of the client's audio is.
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
