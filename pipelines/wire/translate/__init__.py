"""The only place that knows both the wire and the session core.

text message -> `WireTranslator.inbound` -> stimulus for the core, or audio for the engines
notice of the core -> `WireTranslator.outbound` -> text messages, in the order in which the client must get them
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import PeerError
from pipelines.session.effects import Notice, Refused
from pipelines.session.settings import SessionSettings
from pipelines.session.stimuli import SettingsChanged, Stimulus
from pipelines.wire.audio_streams import InputAudioDecoder
from pipelines.wire.client_events import InputAudioBufferAppend, ResponseCreate, SessionUpdate, parse_client_event
from pipelines.wire.payloads import ErrorPayload
from pipelines.wire.server_events import Error, ServerEvent, SessionCreated, VoxrayTrace, serialize
from pipelines.wire.session_object import SessionObject
from pipelines.wire.translate.answers import AnswerEvents
from pipelines.wire.translate.inbound import response_request_from, stimulus_from, voice_is_fixed
from pipelines.wire.translate.outbound import NoticeEvents
from pipelines.wire.translate.session_view import SessionView, initial_session_object
from pipelines.wire.translate.state import WireState

__all__ = ["AudioBytes", "WireTranslator"]


@dataclass(frozen=True, slots=True)
class AudioBytes:
    """Audio that the client appended, decoded for the engines."""

    pcm_16k: bytes


@dataclass(slots=True)
class _EventIds:
    """Generates the ids of server events by counting within a session."""

    stem: str
    next_number: int

    def take(self) -> str:
        number, self.next_number = self.next_number, self.next_number + 1
        return f"event_{self.stem}_{number}"


class WireTranslator:
    """Translates for one session. Pure except for what it remembers: the session object and the audio streams.

    Call `open` first and send what it returns. Then call `inbound` for each text message and `outbound` for each
    notice. When `inbound` raises a `PeerError`, send what `refuse` returns and continue, since the session has not
    changed.

    Args:
        model: the model's name in the session object.
        defaults: settings of a session that the client has not configured; also the server's turn-taking defaults.
        expires_at_s: Unix time at which the server ends the session.
        transcription_model: the recogniser's name in the session object.
        is_transcription: whether to begin as a transcription session (the client connected with
            `intent=transcription`).
        private_events: whether the client opted in to `voxray.*` events, which stock clients do not know.
    """

    def __init__(
        self,
        session_id: str,
        *,
        model: str,
        defaults: SessionSettings,
        expires_at_s: int,
        transcription_model: str,
        is_transcription: bool = False,
        private_events: bool = False,
    ) -> None:
        session_object = initial_session_object(model, transcription_model, defaults)
        view = SessionView(session_id, session_object, expires_at_s=expires_at_s, defaults=defaults)
        if is_transcription:
            view = view.with_update(SessionObject(type="transcription"))
        self._assemble(view, private_events=private_events)

    @classmethod
    def resumed(cls, left: WireState) -> WireTranslator:
        """Return a translator that continues from the saved state of another one."""
        view = SessionView(left.session_id, left.session_object, expires_at_s=left.expires_at_s, defaults=left.defaults)
        translator = cls.__new__(cls)
        translator._assemble(view, private_events=left.private_events, left=left)
        return translator

    def _assemble(self, view: SessionView, *, private_events: bool, left: WireState | None = None) -> None:
        self._event_ids = _EventIds(view.session_id.removeprefix("sess_"), left.next_event if left else 1)
        self.conversation_id = f"conv_{self._event_ids.stem}"
        self._private_events = private_events
        self._answers = AnswerEvents(self.conversation_id, self._next_event_id)
        self._notices = NoticeEvents(view, self._answers, self._next_event_id, private_events=private_events)
        self._decoder = InputAudioDecoder(view.input_format, left.input_audio if left else None)
        if left is not None:
            self._answers.resume(left.responses, has_sent_audio=left.has_sent_audio)

    def save(self) -> WireState:
        """Return everything that is remembered, for a translator that continues from this moment."""
        view = self._notices.view
        return WireState(
            view.session_id,
            view.session_object,
            view.defaults,
            view.expires_at_s,
            self._private_events,
            self._event_ids.next_number,
            self._answers.has_sent_audio,
            self._answers.save(),
            self._decoder.save(),
        )

    def _next_event_id(self) -> str:
        return self._event_ids.take()

    def settings(self) -> SessionSettings:
        """Return the settings that the core begins with."""
        return self._notices.view.settings()

    def open(self) -> list[bytes]:
        """Return the messages that greet the client."""
        return self._messages([SessionCreated(event_id=self._next_event_id(), session=self._notices.view.echo())])

    def inbound(self, text: str | bytes) -> Stimulus | AudioBytes:
        """Return the stimulus or audio that one text message of the client stands for.

        Raises:
            PeerError: the message is invalid, and nothing has changed.
        """
        event = parse_client_event(text)
        if isinstance(event, InputAudioBufferAppend):
            return self._audio(event)
        if isinstance(event, SessionUpdate):
            return self._session_update(event)
        if isinstance(event, ResponseCreate):
            return response_request_from(
                event, self._notices.view, self.conversation_id, is_voice_fixed=self._answers.has_sent_audio
            )
        return stimulus_from(event)

    def outbound(self, notice: Notice) -> list[bytes]:
        """Return the messages that report `notice` to the client, or none if it has not asked for such events."""
        return self._messages(self._notices.expand(notice))

    def refuse(self, error: PeerError) -> list[bytes]:
        """Return the messages for an error that `inbound` raised."""
        return self.outbound(Refused(error.code, str(error), error.param, error.event_id))

    def fail(self, code: str, message: str) -> list[bytes]:
        """Return the messages for a fault of the server itself. `message` must be safe to show."""
        error = ErrorPayload(type="server_error", code=code, message=message)
        return self._messages([Error(event_id=self._next_event_id(), error=error)])

    def trace(self, marks: Mapping[str, Any]) -> list[bytes]:
        """Return the private message with the time marks of a turn, or none without opt-in."""
        if not self._private_events:
            return []
        return self._messages([VoxrayTrace(event_id=self._next_event_id(), marks=marks)])

    def _audio(self, event: InputAudioBufferAppend) -> AudioBytes:
        try:
            return AudioBytes(self._decoder.decode(event.audio))
        except ValueError as error:
            raise PeerError("invalid_audio", f"{error}.", param="audio", event_id=event.event_id) from None

    def _session_update(self, event: SessionUpdate) -> SettingsChanged:
        view = self._notices.view.with_update(event.session)
        if self._answers.has_sent_audio and view.voice != self._notices.view.voice:
            raise voice_is_fixed("session.audio.output.voice", event.event_id)
        self._notices.view = view
        self._decoder.switch(view.input_format)
        return SettingsChanged(view.settings(), event.event_id)

    @staticmethod
    def _messages(events: Iterable[ServerEvent]) -> list[bytes]:
        return [serialize(event) for event in events]
