"""Opens a gateway: turns its part of the configuration into a service on the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from cluster.config.engines import EngineSettings, spec_of
from cluster.config.parts import GatewayPart
from deployments.gateway.access import Access
from deployments.gateway.admission import Admission
from deployments.gateway.call import CallSettings
from deployments.gateway.metrics import GatewayMetrics
from deployments.gateway.service import GatewayService
from deployments.pools.pools import ConnectPool, Pools
from deployments.stores.agent_files import FileAgents
from pipelines.answering.events import AnswerLimits
from pipelines.errors import Component


def answer_limits_from(part: GatewayPart) -> AnswerLimits:
    """Return the bounds of every answer."""
    return AnswerLimits(**part.answering.model_dump())


def service_opener(
    part: GatewayPart, connect: ConnectPool, access: Access, admission: Admission | None = None
) -> AbstractAsyncContextManager[GatewayService]:
    """Return the context in which a gateway serves.

    It has no pools until it is told about them (`GatewayService.tell`).

    Args:
        part: the part of the configuration that the gateway reads.
        connect: connects to the engine pools.
        access: identifies clients.
        admission: passed in by a caller that reads its counts; None creates one.
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
                call_settings=CallSettings.of(part),
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
