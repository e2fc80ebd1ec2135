"""A gateway's connections to engine pools: opened when a pool is offered, warmed up, and held by calls.

A newly offered pool is used once before calls get it. A pool that is no longer offered gets no new calls. Calls that
began with it keep it, and its connection is closed after the last of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from autoscaling.pool_choice import RestLimits
from cluster.config.parts import GatewayPart
from cluster.config.pools import STAGES
from deployments.pools.health import PoolHealth
from deployments.pools.hearing import TranscriberPool
from deployments.pools.offer import PoolEntry, PoolOffer
from deployments.pools.routing import RoutedLanguageModel, RoutedRetriever, RoutedSynthesizer, RoutedTranscriber
from pipelines.agents.definition import DEFAULT_TENANT, Agent
from pipelines.audio.pcm import PCM_16K
from pipelines.errors import CapacityError, Component
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.ports import (
    ChatMessage,
    GenerationRequest,
    LanguageModel,
    RetrievalQuery,
    Retriever,
    SpeechRequest,
    Synthesizer,
)

logger = logging.getLogger(__name__)

# A new replica may spend minutes loading weights.
WARM_UP_S = 240.0
_WARM_SEARCH_MS = 2_000
_SECOND_OF_SILENCE = PCM_16K.silence(1000)
# Time for a first output, at stages without a configured budget, after which another pool is preferred.
_USUAL_BUDGET_MS = 2_000

PoolKey = tuple[Component, str]


class ConnectPool(Protocol):
    """Connects to a pool and returns a `TranscriberPool` or another stage's port. Called on the event loop."""

    def __call__(self, component: Component, name: str, entry: PoolEntry) -> Any:
        """Return this process's end of the pool."""


@dataclass(frozen=True, slots=True)
class StageEngines:
    """The engines for calls of one agent.

    Attributes:
        transcription_model, voice: the names shown to clients.
    """

    transcriber: RoutedTranscriber
    retriever: Retriever
    language_model: LanguageModel
    synthesizer: Synthesizer
    transcription_model: str
    voice: str


@dataclass(eq=False, slots=True)
class _Connection:
    """This process's end of a pool.

    `calls` counts the calls that hold it; with `is_leaving` there will be no new ones.
    """

    stage: Component
    name: str
    entry: PoolEntry
    pool: Any
    is_warm: bool = False
    is_leaving: bool = False
    calls: int = 0


class Pools:
    """Connects to pools and lends them to calls. Used on one event loop.

    Args:
        connect: connects to a pool.
        part: the part of the configuration that the gateway reads.
    """

    def __init__(self, connect: ConnectPool, part: GatewayPart) -> None:
        self._connect = connect
        limits = RestLimits(int(part.failover.first_retry_s * 1000), int(part.failover.longest_retry_s * 1000))
        budgets_ms = {Component.LANGUAGE_MODEL: part.answering.first_clause_budget_ms}
        self._health = {
            stage: PoolHealth(stage, limits, budget_ms=budgets_ms.get(stage, _USUAL_BUDGET_MS)) for stage in STAGES
        }
        self._routes: Mapping[Component, tuple[str, ...]] = {}
        self._connections: dict[PoolKey, _Connection] = {}
        self._leaving: set[_Connection] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def take(self, offer: PoolOffer) -> None:
        """Use this offer for new calls. Returns when its new pools are warm or could not be warmed."""
        self._routes = offer.routes
        wanted = {(stage, name): entry for stage, named in offer.pools.items() for name, entry in named.items()}
        for key in self._connections.keys() - wanted.keys():
            self._leave(self._connections.pop(key))
        new = [connection for key, entry in wanted.items() if (connection := self._connected(key, entry))]
        await asyncio.gather(*(self._warm_up(connection) for connection in new))

    @contextmanager
    def hold(self, agent: Agent) -> Iterator[StageEngines]:
        """Hold the pools of an agent's call until the block ends.

        Raises:
            CapacityError: the agent names a pool that is not offered. The message lists the offered ones.
        """
        routes = {stage: self._route(stage, agent) for stage in STAGES}
        held = [connection for route in routes.values() for connection in route]
        for connection in held:
            connection.calls += 1
        try:
            yield self._engines(routes, agent)
        finally:
            for connection in held:
                connection.calls -= 1
                self._close_if_unused(connection)

    def calls_of(self, application: str) -> int:
        """Return how many calls hold an application's pool, whether or not it is still offered."""
        known = (*self._connections.values(), *self._leaving)
        return sum(connection.calls for connection in known if connection.entry.application == application)

    def route_places(self) -> dict[str, int]:
        """Return each deployment's place in its stage's route, for stages whose route names several pools."""
        return {
            self._connections[stage, name].entry.deployment: place
            for stage, route in self._routes.items()
            if len(route) > 1
            for place, name in enumerate(route)
            if (stage, name) in self._connections
        }

    def links(self) -> list[LinkedTranscriber]:
        """Return the transcribers that keep links to streaming recognisers."""
        pools = [each.pool for each in self._connections.values() if each.stage is Component.TRANSCRIBER]
        return [pool.links for pool in pools if pool.links is not None]

    async def aclose(self) -> None:
        """Release all pools."""
        for connection in (*self._connections.values(), *self._leaving):
            await _close(connection)
        self._connections.clear()
        self._leaving.clear()

    def _connected(self, key: PoolKey, entry: PoolEntry) -> _Connection | None:
        """Connect to a pool. Returns None for an existing connection, whose model may get another name."""
        known = self._connections.get(key)
        if known is not None and known.entry.model_copy(update={"model": entry.model}) == entry:
            known.entry = entry
            return None
        if known is not None:
            self._leave(known)
        connection = self._connections[key] = _Connection(*key, entry, self._connect(*key, entry))
        return connection

    def _route(self, stage: Component, agent: Agent) -> list[_Connection]:
        route = agent.pools.get(stage) or self._routes.get(stage, ())
        missing = [name for name in route if (stage, name) not in self._connections]
        if missing or not route:
            wrong = ", ".join(missing) or "of no name"
            known = ", ".join(name for found, name in self._connections if found is stage) or "none"
            raise CapacityError(f"Agent '{agent.name}' wants the {stage.label} pool {wrong}; there are: {known}.")
        connections = [self._connections[stage, name] for name in route]
        # A pool that is not warm yet would keep its first caller waiting, so others are used as long as there are any.
        return [connection for connection in connections if connection.is_warm] or connections

    def _engines(self, routes: Mapping[Component, list[_Connection]], agent: Agent) -> StageEngines:
        names = {stage: [connection.name for connection in route] for stage, route in routes.items()}
        pools = {stage: {each.name: each.pool for each in route} for stage, route in routes.items()}
        transcribers = {
            name: cast("TranscriberPool", pool).for_agent(agent) for name, pool in pools[Component.TRANSCRIBER].items()
        }

        def routed(stage: Component) -> tuple[Any, list[str], PoolHealth]:
            return pools[stage], names[stage], self._health[stage]

        heard = Component.TRANSCRIBER
        return StageEngines(
            RoutedTranscriber(transcribers, names[heard], self._health[heard]),
            RoutedRetriever(*routed(Component.RETRIEVER)),
            RoutedLanguageModel(*routed(Component.LANGUAGE_MODEL)),
            RoutedSynthesizer(*routed(Component.SYNTHESIZER)),
            transcription_model=routes[heard][0].entry.model,
            voice=agent.voice or routes[Component.SYNTHESIZER][0].entry.model,
        )

    def _leave(self, connection: _Connection) -> None:
        connection.is_leaving = True
        self._leaving.add(connection)
        self._close_if_unused(connection)

    def _close_if_unused(self, connection: _Connection) -> None:
        if connection.is_leaving and not connection.calls and connection in self._leaving:
            self._leaving.discard(connection)
            task = asyncio.create_task(_close(connection))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _warm_up(self, connection: _Connection) -> None:
        """Use a pool once, because a handle connects on its first use and no caller should wait for that.

        A pool that fails, or takes longer than a restart would, gets calls all the same; the calls then report
        failures.
        """
        try:
            await asyncio.wait_for(_use_once(connection.stage, connection.pool), WARM_UP_S)
        except Exception as error:
            stage = connection.stage.label
            logger.warning("! warm-up of the %s pool %s: %s", stage, connection.name, type(error).__name__)
        connection.is_warm = True


async def _close(connection: _Connection) -> None:
    if connection.stage is Component.TRANSCRIBER:
        await cast("TranscriberPool", connection.pool).aclose()


async def _use_once(stage: Component, pool: Any) -> None:
    if stage is Component.TRANSCRIBER:
        await cast("TranscriberPool", pool).probe(_SECOND_OF_SILENCE)
    elif stage is Component.RETRIEVER:
        await cast("Retriever", pool).search(
            RetrievalQuery(DEFAULT_TENANT, "hello", limit=1, budget_ms=_WARM_SEARCH_MS)
        )
    elif stage is Component.LANGUAGE_MODEL:
        prompt = GenerationRequest("warm-up", (ChatMessage("user", "Hello"),), max_tokens=2)
        await _drain(cast("LanguageModel", pool).generate(prompt))
    else:
        await _drain(cast("Synthesizer", pool).synthesize(SpeechRequest("Hello.")))


async def _drain(items: AsyncIterator[Any]) -> None:
    async for _ in items:
        pass
