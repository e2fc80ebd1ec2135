"""What a gateway replica holds between requests: engines, open calls, metrics, and the rules for new calls."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace

from deployments.gateway.admission import Admission
from deployments.gateway.call import CallSettings
from deployments.gateway.metrics import GatewayMetrics
from pipelines.call.runner import Engines
from pipelines.hearing.windowed import Recognizer


@dataclass(frozen=True, slots=True)
class ToldToGateway:
    """What an operator may change under calls in progress; it holds for the calls that begin after it.

    Attributes:
        accepts_calls: False: new calls are refused, open ones go on (a drain).
        model: name of the language model, shown to clients.
        transcription_model: name of the recogniser, shown to clients.
        voice: name of the voice, shown to clients.
    """

    accepts_calls: bool
    model: str
    transcription_model: str
    voice: str


@dataclass(slots=True)
class GatewayService:
    """One gateway's state. Lives on one event loop.

    Attributes:
        engines: shared by all calls.
        recognize: whole-utterance recognition, for REST transcription.
        call_settings: what every call is told.
        api_key: clients must show it; "" lets everybody in.
        live: open calls by session id, with the time they began.
    """

    engines: Engines
    recognize: Recognizer
    call_settings: CallSettings
    admission: Admission
    api_key: str = ""
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)
    live: dict[str, float] = field(default_factory=dict)

    def tell(self, told: ToldToGateway) -> None:
        """Take what an operator has changed."""
        self.admission.is_draining = not told.accepts_calls
        self.call_settings = replace(
            self.call_settings,
            defaults=replace(self.call_settings.defaults, voice=told.voice),
            model=told.model,
            transcription_model=told.transcription_model,
        )

    @staticmethod
    def new_session_id() -> str:
        return f"sess_{secrets.token_hex(8)}"
