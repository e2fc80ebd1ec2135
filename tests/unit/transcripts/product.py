"""Everything of the product that transcripts are played through: the one module here that imports it.

`InProcessCall` is a call below its socket: the translator, the runner with the session core, the tracer and the
grounded answerer, as `deployments.gateway.call` joins them. The models and the data are scripted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deployments.engines.scripted.engines import (
    Script,
    ScriptedLanguageModel,
    ScriptedRetriever,
    ScriptedSpeechDetector,
    ScriptedTurnDetector,
)
from deployments.engines.streaming.chunk_stepper import Heard, SlotAudio
from deployments.engines.streaming.schedule import ScheduleLimits, StreamSchedule
from deployments.engines.streaming.ticks import StreamTicks
from pipelines.answering.answer import GroundedAnswerer
from pipelines.answering.events import AnswerLimits
from pipelines.call.observers import ObserverChain
from pipelines.call.runner import Engines, SessionRunner
from pipelines.call.trace import TurnTracer
from pipelines.errors import EngineError, PeerError
from pipelines.hearing.link import StreamCommand, StreamResult
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.windowed import Recognition, WindowedTranscriber
from pipelines.ports import Passage, SessionObserver, SpeechChunk, SpeechRequest, Transcriber, WordTime
from pipelines.session.core import Session
from pipelines.session.effects import Notice
from pipelines.session.settings import SessionSettings, TurnDetection, TurnDetectionKind
from pipelines.wire.translate import AudioBytes, WireTranslator

__all__ = [
    "EngineError", "Heard", "InProcessCall", "LinkedTranscriber", "Passage", "Recognition", "ScheduleLimits", "Script",
    "ScriptedLanguageModel", "ScriptedRetriever", "ScriptedTurnDetector", "SessionSettings", "SlotAudio", "SpeechChunk",
    "SpeechRequest", "StreamCommand", "StreamResult", "StreamSchedule", "StreamTicks", "TurnDetection",
    "TurnDetectionKind", "WindowedTranscriber", "WordTime",
]  # fmt: skip

SESSION_ID = "sess_7"
EXPIRES_AT_S = 1_900_000_000


@dataclass(frozen=True)
class SampleAgent:
    """Who answers in all transcripts."""

    company: str = "Fernhollow Outfitters"
    tenant: str = "fernhollow"
    min_similarity: float = 0.3
    min_matched_terms: float = 0.0
    min_evidence: float = 0.5
    refusal: str = "I'm sorry, I don't have that in our records. Is there anything else I can help you with?"


@dataclass
class Cast:
    """What a call is played with; `answerer` None is the grounded one over the scripted retriever and model."""

    transcriber: Transcriber
    synthesizer: Any
    retriever: ScriptedRetriever
    language_model: ScriptedLanguageModel = field(default_factory=ScriptedLanguageModel)
    turn_detector: ScriptedTurnDetector = field(default_factory=ScriptedTurnDetector)
    limits: AnswerLimits = field(default_factory=lambda: AnswerLimits(3, 400, 1500, 48, 2))
    answerer: Any = None
    observers: tuple[SessionObserver, ...] = ()

    def engines(self) -> Engines:
        answerer = self.answerer or GroundedAnswerer(self.retriever, self.language_model, SampleAgent(), self.limits)
        return Engines(ScriptedSpeechDetector(), self.turn_detector, self.transcriber, answerer, self.synthesizer)


class InProcessCall:
    """One call. `on_messages` gets every message to the client, in order.

    Args:
        wire_options: `is_transcription`, `private_events` of the translator.
    """

    def __init__(
        self,
        cast: Cast,
        on_messages: Callable[[list[bytes]], None],
        defaults: SessionSettings,
        **wire_options: bool,
    ) -> None:
        self._on_messages = on_messages
        self._wire = WireTranslator(
            SESSION_ID,
            model="voxray",
            defaults=defaults,
            expires_at_s=EXPIRES_AT_S,
            transcription_model="scripted-asr",
            **wire_options,
        )
        session = Session.start(SESSION_ID.removeprefix("sess_"), self._wire.settings())
        tracer = TurnTracer(session, lambda trace: on_messages(self._wire.trace(trace.as_dict())))
        self.failures: list[Exception] = []
        self._runner = SessionRunner(
            session,
            cast.engines(),
            lambda notice: self.outbound(notice),
            self.failures.append,
            ObserverChain([tracer, *cast.observers]),
        )
        on_messages(self._wire.open())

    def take(self, text: str | bytes) -> None:
        """Take a message of the client."""
        try:
            meaning = self._wire.inbound(text)
        except PeerError as error:
            self._on_messages(self._wire.refuse(error))
            return
        if isinstance(meaning, AudioBytes):
            self._runner.feed_audio(meaning.pcm_16k)
        else:
            self._runner.feed(meaning)

    def outbound(self, notice: Notice) -> None:
        """Tell the client of a notice."""
        self._on_messages(self._wire.outbound(notice))

    async def close(self) -> None:
        """The client has gone.

        Raises:
            Exception: a bug had ended the call.
        """
        await self._runner.close()
        for error in self.failures:
            raise error
