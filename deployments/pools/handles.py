"""Implements the ports over Ray Serve handles: the gateway sees an engine, and calls a replica somewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_fixed

from cluster.config.schema import HearingConfig, TurnConfig
from deployments.pools.hearing import LinkedPool, WindowedPool
from deployments.pools.offer import PoolEntry
from deployments.stage_link.frames import LinkAddress
from deployments.stage_link.keeper import Found
from pipelines.errors import Component, EngineError
from pipelines.hearing.windowed import Recognition
from pipelines.ports import Clause, GenerationRequest, Passage, RetrievalQuery, SpeechChunk, SpeechRequest

# Another replica may take the request at once, while one that restarts needs seconds.
RETRY_DELAY_S = 0.2
# Timeout of a question that a replica answers without its engine, in seconds.
ASK_S = 5.0


@contextmanager
def engine_errors(engine: Component) -> Iterator[None]:
    """Map Ray's exceptions to `EngineError`. A dead or full replica is worth another try, but a failed call is not."""
    try:
        yield
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, EngineError):
            raise EngineError(cause.engine, cause.reason, retryable=cause.retryable) from error
        raise EngineError(engine, f"failed with {type(cause).__name__}", retryable=False) from error
    except (RayActorError, BackPressureError, DeploymentUnavailableError) as error:
        raise EngineError(engine, f"no replica took the request ({type(error).__name__})", retryable=True) from error
    except (RayError, RayServeException) as error:
        raise EngineError(engine, f"cannot be reached ({type(error).__name__})", retryable=True) from error


class HandleConnector:
    """Connects to pools by Ray Serve handles; a `deployments.pools.pools.ConnectPool`.

    Args:
        hearing, turn: settings for how callers are heard and how long their utterances may be.
    """

    def __init__(self, hearing: HearingConfig, turn: TurnConfig) -> None:
        self._hearing = hearing
        self._turn = turn

    def __call__(self, component: Component, name: str, entry: PoolEntry) -> Any:  # noqa: ARG002 - part of the port
        # A pool may be offered just before Serve knows its application, so the first request waits for it.
        handle = serve.get_deployment_handle(entry.deployment, entry.application, _check_exists=False)
        if component is Component.TRANSCRIBER:
            if entry.is_streaming:
                return LinkedPool(LinkDirectory(handle).find, self._hearing, self._turn)
            return WindowedPool(RemoteRecognizer(handle), self._hearing)
        return _REMOTES[component](handle)


class RemoteRecognizer:
    """Calls a pool's Transcriber, from which `pipelines.hearing.windowed` makes a streaming transcriber."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def recognize(self, pcm_16k: bytes, expected_words: str) -> Recognition:
        with engine_errors(Component.TRANSCRIBER):
            recognition: Recognition = await self._handle.recognize.remote(pcm_16k, expected_words)
            return recognition


class LinkDirectory:
    """Asks the replicas of a streaming recogniser for their addresses (`deployments.stage_link`)."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def find(self) -> Found:
        """Return the addresses of the running replicas.

        Raises:
            EngineError: no replica is running, or none could be asked.
        """
        with engine_errors(Component.TRANSCRIBER):
            asked = self._handle.broadcast("link_address")
            told = await asked.results_async(timeout_s=ASK_S, return_exceptions=True)
        addresses = [answer for answer in told if isinstance(answer, LinkAddress)]
        return Found(addresses, is_whole=len(addresses) == len(told))


class RemoteRetriever:
    """`pipelines.ports.Retriever` over the Retriever deployment.

    Searches have no side effects, so they are tried twice.
    """

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(2),
            wait=wait_fixed(RETRY_DELAY_S),
            retry=retry_if_exception(lambda error: isinstance(error, EngineError) and error.retryable),
            reraise=True,
        ):
            with attempt, engine_errors(Component.RETRIEVER):
                passages: list[Passage] = await self._handle.search.remote(query)
        return passages


class RemoteLanguageModel:
    """`pipelines.ports.LanguageModel` over the LanguageModel deployment."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle.options(stream=True)

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        async for clause in _stream(Component.LANGUAGE_MODEL, self._handle.generate.remote(request)):
            yield clause


class RemoteSynthesizer:
    """`pipelines.ports.Synthesizer` over the Synthesizer deployment."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle.options(stream=True)

    async def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        async for chunk in _stream(Component.SYNTHESIZER, self._handle.synthesize.remote(request)):
            yield chunk


_REMOTES: dict[Component, Callable[[DeploymentHandle], Any]] = {
    Component.RETRIEVER: RemoteRetriever,
    Component.LANGUAGE_MODEL: RemoteLanguageModel,
    Component.SYNTHESIZER: RemoteSynthesizer,
}


async def _stream(engine: Component, responses: Any) -> AsyncIterator[Any]:
    """Yield what a replica streams. If the consumer stops early, the replica's generator is cancelled."""
    is_done = False
    try:
        with engine_errors(engine):
            async for item in responses:
                yield item
        is_done = True
    finally:
        if not is_done:
            responses.cancel()
