"""A scripted client and scripted engines joined by the translator and the real session core, without a socket."""

from __future__ import annotations

import json
from typing import Any, get_args

from pipelines.errors import PeerError
from pipelines.session.effects import Effect, Notice
from pipelines.session.settings import SessionSettings
from pipelines.session.stimuli import AudioAppended, Stimulus
from pipelines.wire.translate import AudioBytes, WireTranslator
from tests.unit.pipelines.session.pair import VAD, SessionPair

NOTICES = get_args(Notice)
BYTES_PER_MS_16K = 32


class WirePair(SessionPair):
    """`events` holds all server events so far, parsed, in order."""

    def __init__(self, defaults: SessionSettings = VAD, **options: Any) -> None:
        self.wire = WireTranslator(
            "sess_7",
            model="voxray",
            defaults=defaults,
            expires_at_s=1_900_000_000,
            transcription_model="asr",
            **options,
        )
        super().__init__(self.wire.settings())
        self.events: list[dict[str, Any]] = []
        self._take(self.wire.open())

    def client(self, event_type: str, **fields: Any) -> list[dict[str, Any]]:
        """Let the client send an event; return the server's events in answer."""
        return self.client_text(json.dumps({"type": event_type, **fields}))

    def client_text(self, text: str | bytes) -> list[dict[str, Any]]:
        before = len(self.events)
        try:
            meant = self.wire.inbound(text)
        except PeerError as error:
            self._take(self.wire.refuse(error))
        else:
            if isinstance(meant, AudioBytes):
                meant = AudioAppended(self.session.state.appended_ms + len(meant.pcm_16k) // BYTES_PER_MS_16K)
            self.send(meant)
        return self.events[before:]

    def send(self, *stimuli: Stimulus) -> list[Effect]:
        effects = super().send(*stimuli)
        self._show(effects)
        return effects

    def pass_time(self, duration_ms: int) -> list[Effect]:
        effects = super().pass_time(duration_ms)
        self._show(effects)
        return effects

    def of_type(self, event_type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == event_type]

    def only(self, event_type: str) -> dict[str, Any]:
        (event,) = self.of_type(event_type)
        return event

    def types(self, since: int = 1) -> list[str]:
        """Types of the events after the greeting, with runs of one type folded."""
        folded: list[str] = []
        for event in self.events[since:]:
            if not folded or folded[-1] != event["type"]:
                folded.append(event["type"])
        return folded

    def _show(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, NOTICES):
                self._take(self.wire.outbound(effect))

    def _take(self, messages: list[bytes]) -> None:
        self.events += [json.loads(message) for message in messages]
