"""Opening a gateway: from configuration and the remote engines to a service on the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cluster.config.schema import TurnConfig, VoxrayConfig
from deployments.engine_choice import EngineChoice
from deployments.gateway.admission import Admission
from deployments.gateway.call import CallSettings
from deployments.gateway.hearing import Hearing, open_hearing
from deployments.gateway.metrics import GatewayMetrics
from deployments.gateway.service import GatewayService
from deployments.stage_link.keeper import FindReplicas
from pipelines.answering.answer import GroundedAnswerer
from pipelines.answering.events import AnswerLimits
from pipelines.call.runner import Engines
from pipelines.hearing.windowed import Recognizer
from pipelines.ports import (
    ChatMessage,
    GenerationRequest,
    LanguageModel,
    RetrievalQuery,
    Retriever,
    SpeechRequest,
    Synthesizer,
)
from pipelines.session.settings import SessionSettings, TurnDetection, TurnDetectionKind

logger = logging.getLogger(__name__)

WARM_UP_S = 240.0


@dataclass(frozen=True, slots=True)
class RemoteEngines:
    """The engines that gateways share, as ports (Ray handles in the cluster, engines in-process without it).

    `find_recognizers` finds the replicas of a recogniser that streams; None: it takes whole utterances (`recognize`).
    """

    recognize: Recognizer
    retriever: Retriever
    language_model: LanguageModel
    synthesizer: Synthesizer
    find_recognizers: FindReplicas | None = None


async def _warm_up(hearing: Hearing, remote: RemoteEngines, config: VoxrayConfig) -> None:
    """Use every remote engine once, all at a time: handles connect on first use, which no caller should wait for.

    The gateway becomes ready when all have answered. One that fails or is slower than a restart takes does not keep
    it from serving: calls then tell their callers.
    """

    async def drain(items: AsyncIterator[Any]) -> None:
        async for _ in items:
            pass

    prompt = GenerationRequest("warm-up", (ChatMessage("user", "Hello"),), max_tokens=2)
    uses: dict[str, Awaitable[Any]] = {
        "transcriber": hearing.warm_up(),
        "retriever": remote.retriever.search(RetrievalQuery(config.agent.tenant, "hello", 1, 2_000)),
        "language model": drain(remote.language_model.generate(prompt)),
        "synthesizer": drain(remote.synthesizer.synthesize(SpeechRequest("Hello."))),
    }
    bounded = (asyncio.wait_for(use, WARM_UP_S) for use in uses.values())
    for name, result in zip(uses, await asyncio.gather(*bounded, return_exceptions=True), strict=True):
        if isinstance(result, Exception):
            logger.warning("! warm-up of the %s: %s %s", name, type(result).__name__, result)


def turn_detection_from(turn: TurnConfig) -> TurnDetection:
    """Return the server's default turn taking."""
    return TurnDetection(
        kind=TurnDetectionKind.SEMANTIC_VAD,
        threshold=turn.vad_threshold,
        prefix_padding_ms=turn.prefix_padding_ms,
        silence_duration_ms=turn.silence_duration_ms,
        min_speech_ms=turn.min_speech_ms,
        min_silence_ms=turn.min_silence_ms,
        max_silence_ms=turn.max_silence_ms,
        speculation_silence_ms=turn.speculation_silence_ms,
        completion_threshold=turn.completion_threshold,
    )


def call_settings_from(config: VoxrayConfig) -> CallSettings:
    """Return what every call is told."""
    defaults = SessionSettings(
        instructions=f"You answer callers of {config.agent.company} from its own data.",
        voice=config.synthesizer.model,
        turn_detection=turn_detection_from(config.turn),
        max_utterance_ms=config.turn.max_utterance_s * 1000,
    )
    return CallSettings(
        defaults,
        model=config.language_model.model,
        transcription_model=config.transcriber.model,
        idle_timeout_s=config.gateway.idle_timeout_s,
        longest_call_s=config.ingress.longest_call_s,
        speculate_up_to_calls=config.gateway.speculate_up_to_calls,
    )


def service_opener(
    choice: EngineChoice, remote: RemoteEngines, api_key: str, admission: Admission | None = None
) -> AbstractAsyncContextManager[GatewayService]:
    """Return the context in which a gateway serves; local engines live as long as it is entered.

    `admission` is for who wants to read its counts; None: one of its own.
    """
    return _open_service(choice, remote, api_key, admission or Admission(choice.config.gateway.max_calls))


@asynccontextmanager
async def _open_service(
    choice: EngineChoice, remote: RemoteEngines, api_key: str, admission: Admission
) -> AsyncIterator[GatewayService]:
    config = choice.config
    detector: Any = choice.speech_detector()
    turn_detector: Any = choice.turn_detector()
    metrics = GatewayMetrics()
    try:
        async with open_hearing(config, remote.recognize, remote.find_recognizers) as hearing:
            await _warm_up(hearing, remote, config)
            metrics.watch_links(hearing.links)
            engines = Engines(
                speech_detector=detector,
                turn_detector=turn_detector,
                transcriber=hearing.transcriber,
                answerer=GroundedAnswerer(
                    remote.retriever, remote.language_model, config.agent, _answer_limits(config)
                ),
                synthesizer=remote.synthesizer,
            )
            yield GatewayService(
                engines=engines,
                recognize=hearing.recognize,
                call_settings=call_settings_from(config),
                admission=admission,
                api_key=api_key,
                metrics=metrics,
            )
    finally:
        detector.close()
        turn_detector.close()


def _answer_limits(config: VoxrayConfig) -> AnswerLimits:
    return AnswerLimits(
        passages=config.retriever.limit,
        retrieval_budget_ms=config.retriever.budget_ms,
        max_tokens=config.language_model.max_tokens,
        first_clause_budget_ms=config.language_model.first_clause_budget_ms,
    )
