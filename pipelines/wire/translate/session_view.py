"""The session as the client sees it, and the settings derived from it for the core."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any, Final

from pipelines.session.settings import Eagerness, Modality, SessionSettings, TurnDetection, TurnDetectionKind
from pipelines.wire.audio_streams import WireFormat
from pipelines.wire.session_object import (
    JsonObject,
    SemanticVad,
    ServerVad,
    SessionAudio,
    SessionObject,
    merge_session,
)

_MAX_SILENCE_MS: Final = {Eagerness.LOW: 8000, Eagerness.MEDIUM: 4000, Eagerness.HIGH: 2000}


class SessionView:
    """Holds the merged session object. Its values are immutable and replaced by `with_update`.

    Settings without effect here (noise reduction, tracing, truncation, ...) are stored and echoed unchanged.
    """

    def __init__(
        self, session_id: str, session_object: JsonObject, *, expires_at_s: int, defaults: SessionSettings
    ) -> None:
        self.session_id = session_id
        self.expires_at_s = expires_at_s
        self.defaults = defaults
        self._turn_defaults = defaults.turn_detection or TurnDetection()
        self._fields = session_object

    @property
    def session_object(self) -> JsonObject:
        """The session object as merged so far. It must not be modified."""
        return self._fields

    @property
    def is_transcription(self) -> bool:
        return bool(self._fields["type"] == "transcription")

    @property
    def has_transcripts(self) -> bool:
        """Whether the client wants transcripts of what the caller says."""
        return self._fields["audio"]["input"]["transcription"] is not None

    @property
    def input_format(self) -> WireFormat:
        return WireFormat(self._fields["audio"]["input"]["format"]["type"])

    @property
    def output_format(self) -> WireFormat:
        return WireFormat(self._fields["audio"]["output"]["format"]["type"])

    @property
    def voice(self) -> str:
        voice: str | JsonObject = self._fields["audio"]["output"]["voice"]
        return voice if isinstance(voice, str) else str(voice["id"])

    def with_update(self, update: SessionObject) -> SessionView:
        """Return a view with the client's changes. This view stays unchanged."""
        changed: JsonObject = update.model_dump(exclude_unset=True)
        changed.pop("model", None)  # the model was chosen when the session began
        turn_detection = update.audio.input.turn_detection if update.audio and update.audio.input else None
        if turn_detection is not None:
            changed["audio"]["input"]["turn_detection"] = self._completed(turn_detection)
        view = copy(self)
        view._fields = merge_session(self._fields, changed)
        return view

    def settings(self) -> SessionSettings:
        """Return the settings that the core needs for this session."""
        fields = SessionObject.model_validate(self._fields)
        audio = fields.audio or SessionAudio()
        speed = audio.output.speed if audio.output else None
        limit = fields.max_output_tokens
        return replace(
            self.defaults,
            instructions=fields.instructions or "",
            modality=Modality((fields.output_modalities or ["audio"])[0]),
            voice=self.voice,
            speed=self.defaults.speed if speed is None else speed,
            turn_detection=self._turn_detection(audio.input.turn_detection if audio.input else None),
            max_output_tokens=limit if isinstance(limit, int) else None,
        )

    def echo(self) -> JsonObject:
        """Return the whole session object for `session.created` and `session.updated`."""
        head = {"type": self._fields["type"], "id": self.session_id, "expires_at": self.expires_at_s}
        if not self.is_transcription:
            return {"object": "realtime.session"} | head | self._fields
        audio = {"input": self._fields["audio"]["input"]}
        return (
            {"object": "realtime.transcription_session"} | head | {"audio": audio, "include": self._fields["include"]}
        )

    def _completed(self, asked: ServerVad | SemanticVad) -> JsonObject:
        """Return the turn detection with the server's defaults for what the client omitted."""
        base = replace(self._turn_defaults, kind=TurnDetectionKind(asked.type), eagerness=Eagerness.AUTO)
        return _turn_detection_echo(base) | asked.model_dump(exclude_none=True)

    def _turn_detection(self, wire: ServerVad | SemanticVad | None) -> TurnDetection | None:
        if wire is None:
            return None
        base = self._turn_defaults
        given: dict[str, Any] = wire.model_dump(exclude_none=True, exclude={"type", "eagerness"})
        if self.is_transcription:
            given |= {"create_response": False, "interrupt_response": False}
        if isinstance(wire, SemanticVad):
            eagerness = Eagerness(wire.eagerness or "auto")
            given |= {"eagerness": eagerness, "max_silence_ms": _MAX_SILENCE_MS.get(eagerness, base.max_silence_ms)}
        return replace(base, kind=TurnDetectionKind(wire.type), **given)


def format_echo(wire_format: WireFormat) -> JsonObject:
    """Return the protocol's object for an audio format."""
    echo: JsonObject = {"type": wire_format.value}
    return echo | {"rate": wire_format.rate_hz} if wire_format is WireFormat.PCM else echo


def initial_session_object(model: str, transcription_model: str, defaults: SessionSettings) -> JsonObject:
    """Return the session object for a session that the client has not configured."""
    turn_detection = defaults.turn_detection
    return {
        "type": "realtime",
        "model": model,
        "output_modalities": [defaults.modality.value],
        "instructions": defaults.instructions,
        "audio": {
            "input": {
                "format": format_echo(WireFormat.PCM),
                "noise_reduction": None,
                "transcription": {"model": transcription_model},
                "turn_detection": _turn_detection_echo(turn_detection) if turn_detection else None,
            },
            "output": {"format": format_echo(WireFormat.PCM), "voice": defaults.voice, "speed": defaults.speed},
        },
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": defaults.max_output_tokens or "inf",
        "truncation": "auto",
        "include": None,
        "prompt": None,
        "tracing": None,
    }


def _turn_detection_echo(turn: TurnDetection) -> JsonObject:
    echo: JsonObject = {"type": turn.kind.value}
    if turn.kind is TurnDetectionKind.SERVER_VAD:
        echo |= {
            "threshold": turn.threshold,
            "prefix_padding_ms": turn.prefix_padding_ms,
            "silence_duration_ms": turn.silence_duration_ms,
            "idle_timeout_ms": turn.idle_timeout_ms,
        }
    else:
        echo["eagerness"] = turn.eagerness.value
    return echo | {"create_response": turn.create_response, "interrupt_response": turn.interrupt_response}
