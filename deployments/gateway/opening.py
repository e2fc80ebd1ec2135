"""Opening a gateway: from what it reads of the configuration to a service on the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from cluster.config.engines import EngineSettings, spec_of
from cluster.config.parts import GatewayPart
from cluster.config.schema import TurnConfig
from deployments.gateway.access import Access
from deployments.gateway.admission import Admission
from deployments.gateway.call import CallSettings
from deployments.gateway.metrics import GatewayMetrics
from deployments.gateway.service import GatewayService
from deployments.pools.pools import ConnectPool, Pools
from deployments.stores.agent_files import FileAgents
from pipelines.answering.events import AnswerLimits
from pipelines.errors import Component
from pipelines.session.settings import SessionSettings, TurnDetection, TurnDetectionKind


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


def call_settings_from(part: GatewayPart) -> CallSettings:
    """Return what every call is told."""
    return CallSettings(
        SessionSettings(
            turn_detection=turn_detection_from(part.turn), max_utterance_ms=part.turn.max_utterance_s * 1000
        ),
        idle_timeout_s=part.gateway.idle_timeout_s,
        longest_call_s=part.longest_call_s,
        speculate_up_to_calls=part.gateway.speculate_up_to_calls,
    )


def answer_limits_from(part: GatewayPart) -> AnswerLimits:
    """Return the bounds of every answer."""
    return AnswerLimits(**part.answering.model_dump())


def service_opener(
    part: GatewayPart, connect: ConnectPool, access: Access, admission: Admission | None = None
) -> AbstractAsyncContextManager[GatewayService]:
    """Return the context in which a gateway serves. It has no pools until it is told of them (`GatewayService.tell`).

    Args:
        part: what it reads of the configuration.
        connect: connects to the engine pools.
        access: tells who calls.
        admission: for who wants to read its counts; None: one of its own.
    """
    return _open_service(part, connect, access, admission or Admission(part.gateway.max_calls))


@asynccontextmanager
async def _open_service(
    part: GatewayPart, connect: ConnectPool, access: Access, admission: Admission
) -> AsyncIterator[GatewayService]:
    detector = _opened(Component.SPEECH_DETECTOR, part.gateway.speech_detector, part)
    turn_detector = _opened(Component.TURN_DETECTOR, part.gateway.turn_detector, part)
    pools, metrics = Pools(connect, part), GatewayMetrics()
    metrics.watch_links(pools.links)
    try:
        async with FileAgents(Path(part.agents_folder), part.gateway.default_agent).watched() as agents:
            yield GatewayService(
                pools=pools,
                agents=agents,
                speech_detector=detector,
                turn_detector=turn_detector,
                call_settings=call_settings_from(part),
                limits=answer_limits_from(part),
                admission=admission,
                access=access,
                metrics=metrics,
            )
    finally:
        await pools.aclose()
        detector.close()
        turn_detector.close()


def _opened(component: Component, settings: EngineSettings, part: GatewayPart) -> Any:
    engine = spec_of(component, settings.engine).open(settings, part.site)
    engine.warm_up()
    return engine
