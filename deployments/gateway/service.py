"""The state that a gateway replica keeps between requests: pools, agents, open calls, metrics and admission."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cluster.config.section import Section
from deployments.gateway.access import Access
from deployments.gateway.admission import Admission
from deployments.gateway.call import CallSettings, HeldEngines
from deployments.gateway.metrics import GatewayMetrics
from deployments.pools.offer import PoolOffer
from deployments.pools.pools import Pools
from pipelines.agents.definition import Agent
from pipelines.agents.directory import AgentDirectory
from pipelines.answering.answer import GroundedAnswerer
from pipelines.answering.events import AnswerLimits
from pipelines.call.runner import Engines
from pipelines.ports import SpeechDetector, TurnDetector


class LiveSettings(Section):
    """Settings that an operator may change at runtime. A change applies to calls that begin after it.

    Attributes:
        accepts_calls: False while draining, when new calls are refused and open ones continue.
        offer: the pools that are available.
    """

    accepts_calls: bool
    offer: PoolOffer


@dataclass(slots=True)
class GatewayService:
    """One gateway's state, used on one event loop.

    Attributes:
        pools: the engine pools.
        agents: the directory of agents.
        speech_detector, turn_detector: shared by all calls, in this process.
        call_settings: the settings of every call.
        limits: bounds of every answer.
        access: identifies clients.
        live: open calls by session id, with the time they began.
    """

    pools: Pools
    agents: AgentDirectory
    speech_detector: SpeechDetector
    turn_detector: TurnDetector
    call_settings: CallSettings
    limits: AnswerLimits
    admission: Admission
    access: Access
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)
    live: dict[str, float] = field(default_factory=dict)

    async def tell(self, settings: LiveSettings) -> None:
        """Apply an operator's changes."""
        self.admission.is_draining = not settings.accepts_calls
        await self.pools.take(settings.offer)

    @contextmanager
    def hold(self, agent: Agent) -> Iterator[HeldEngines]:
        """Hold the engines of an agent's call until the block ends.

        Raises:
            CapacityError: the agent names a pool that does not exist.
        """
        with self.pools.hold(agent) as stages:
            answerer = GroundedAnswerer(stages.retriever, stages.language_model, agent, self.limits)
            engines = Engines(
                speech_detector=self.speech_detector,
                turn_detector=self.turn_detector,
                transcriber=stages.transcriber,
                answerer=answerer,
                synthesizer=stages.synthesizer,
            )
            yield HeldEngines(engines, stages.transcriber, stages.transcription_model, stages.voice)

    @staticmethod
    def new_session_id() -> str:
        return f"sess_{secrets.token_hex(8)}"
