"""Everything of the product that transcripts are played through: the one module here that imports it.

`InProcessCall` is a call below its socket: the translator, the runner with the session core, the tracer and the
grounded answerer, as `deployments.gateway.call` joins them. The models and the data are scripted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deployments.engines.scripted.detection import ScriptedSpeechDetector, ScriptedTurnDetector
from deployments.engines.scripted.language_model import ScriptedLanguageModel
from deployments.engines.scripted.retriever import ScriptedRetriever
from deployments.engines.scripted.script import Script
from deployments.engines.streaming.chunk_stepper import Heard, SlotAudio
from deployments.engines.streaming.schedule import ScheduleLimits, StreamSchedule
from deployments.engines.streaming.ticks import StreamTicks
from pipelines.agents.definition import Agent, KnowledgeUse
from pipelines.answering.answer import GroundedAnswerer
from pipelines.answering.events import AnswerLimits
from pipelines.call.observers import ObserverChain
from pipelines.call.runner import Engines, SessionRunner
from pipelines.call.snapshot import CallSnapshot, dump_call, load_call
from pipelines.call.trace import TurnTracer
from pipelines.errors import EngineError, PeerError
from pipelines.hearing.link import StreamCommand, StreamResult
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkPatience
from pipelines.hearing.windowed import Recognition, WindowedTranscriber
from pipelines.ports import (
    AnswerClause,
    AnswerEvent,
    AnswerFinished,
    Grounding,
    Passage,
    SessionObserver,
    SpeechChunk,
    SpeechRequest,
    Transcriber,
    WordTime,
)
from pipelines.session.core import Session
from pipelines.session.effects import Notice, StartAnswer
from pipelines.session.settings import Modality, SessionSettings, TurnDetection, TurnDetectionKind
from pipelines.wire.translate import AudioBytes, WireTranslator

__all__ = [
    "AnswerClause",
    "AnswerEvent",
    "AnswerFinished",
    "EngineError",
    "Grounding",
    "Heard",
    "InProcessCall",
    "LinkPatience",
    "LinkedTranscriber",
    "Modality",
    "Passage",
    "Recognition",
    "ScheduleLimits",
    "Script",
    "ScriptedLanguageModel",
    "ScriptedRetriever",
    "ScriptedTurnDetector",
    "SessionSettings",
    "SlotAudio",
    "SpeechChunk",
    "SpeechRequest",
    "StartAnswer",
    "StreamCommand",
    "StreamResult",
    "StreamSchedule",
    "StreamTicks",
    "TurnDetection",
    "TurnDetectionKind",
    "WindowedTranscriber",
    "WordTime",
]  # fmt: skip

SESSION_ID = "sess_7"
EXPIRES_AT_S = 1_900_000_000


# Who answers in all transcripts.
SAMPLE_AGENT = Agent(
    name="fernhollow",
    version="1",
    tenant="fernhollow",
    company="Fernhollow Outfitters",
    instructions="",
    language="en",
    voice="",
    greeting="Hello, this is Fernhollow Outfitters. How can I help you?",
    refusal="I'm sorry, I don't have that in our records. Is there anything else I can help you with?",
    expected_words="",
    knowledge=KnowledgeUse(alias="", min_similarity=0.3, min_matched_terms=0.0, min_evidence=0.5),
    pools={},
)


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
        answerer = self.answerer or GroundedAnswerer(self.retriever, self.language_model, SAMPLE_AGENT, self.limits)
        return Engines(ScriptedSpeechDetector(), self.turn_detector, self.transcriber, answerer, self.synthesizer)


class InProcessCall:
    """One call. `on_messages` gets every message to the client, in order.

    Args:
        wire: a translator that is new, or goes on.
        left: the call as another process has left it, None for a new one.
    """

    def __init__(
        self,
        cast: Cast,
        on_messages: Callable[[list[bytes]], None],
        wire: WireTranslator,
        left: CallSnapshot | None = None,
    ) -> None:
        self.failures: list[Exception] = []
        self._on_messages = on_messages
        self._wire = wire
        if left is None:
            session, orders = Session.start(SESSION_ID.removeprefix("sess_"), wire.settings()), []
        else:
            session, orders = Session.restore(left.core)
        tracer = TurnTracer(session, lambda trace: on_messages(wire.trace(trace.as_dict())))
        self._runner = SessionRunner(
            session,
            cast.engines(),
            lambda notice: self.outbound(notice),
            self.failures.append,
            ObserverChain([tracer, *cast.observers]),
            left=left and left.runner,
        )
        if left is None:
            on_messages(wire.open())
        else:
            self._runner.resume(orders)

    @classmethod
    def new(
        cls, cast: Cast, on_messages: Callable[[list[bytes]], None], defaults: SessionSettings, **wire_options: bool
    ) -> InProcessCall:
        """Begin a call; `wire_options` are `is_transcription` and `private_events` of the translator."""
        wire = WireTranslator(
            SESSION_ID,
            model="voxray",
            defaults=defaults,
            expires_at_s=EXPIRES_AT_S,
            transcription_model="scripted-asr",
            **wire_options,
        )
        return cls(cast, on_messages, wire)

    @classmethod
    def resumed(cls, data: bytes, cast: Cast, on_messages: Callable[[list[bytes]], None]) -> InProcessCall:
        """Go on with a call that `leave` has returned, perhaps in another process."""
        left = load_call(data)
        return cls(cast, on_messages, WireTranslator.resumed(left.wire), left)

    async def leave(self) -> bytes:
        """Stop here, without telling anybody; return the call as a value."""
        data = dump_call(CallSnapshot(self._runner.session.state, self._wire.save(), self._runner.save()))
        await self._runner.abandon()
        self._raise_failure()
        return data

    @property
    def now_ms(self) -> int:
        """The session's clock."""
        return self._runner.now_ms()

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
        self._raise_failure()

    def _raise_failure(self) -> None:
        for error in self.failures:
            raise error
