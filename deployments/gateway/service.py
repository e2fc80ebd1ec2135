"""What a gateway replica holds between requests: engines, open calls, metrics, and the rules for new calls."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from deployments.gateway.admission import Admission
from deployments.gateway.call import CallSettings
from deployments.gateway.metrics import GatewayMetrics
from pipelines.recognition import Recognizer
from pipelines.runner import Engines


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

    @staticmethod
    def new_session_id() -> str:
        return f"sess_{secrets.token_hex(8)}"
