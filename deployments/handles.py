"""Ports over Ray Serve handles: what the gateway calls is a replica somewhere, what it sees is an engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_fixed

from pipelines.errors import EngineError
from pipelines.ports import Clause, GenerationRequest, Passage, RetrievalQuery, SpeechChunk, SpeechRequest
from pipelines.recognition import Recognition

# Another replica may take the request at once; one that restarts needs seconds.
RETRY_DELAY_S = 0.2


@contextmanager
def engine_errors(engine: str) -> Iterator[None]:
    """Turn Ray's exceptions into `EngineError`: a dead or full replica is worth another try, a failed call is not."""
    try:
        yield
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, EngineError):
            raise EngineError(cause.engine, str(cause), retryable=cause.retryable) from error
        raise EngineError(engine, f"failed with {type(cause).__name__}", retryable=False) from error
    except (RayActorError, BackPressureError, DeploymentUnavailableError) as error:
        raise EngineError(engine, f"no replica took it ({type(error).__name__})", retryable=True) from error
    except (RayError, RayServeException) as error:
        raise EngineError(engine, f"cannot be reached ({type(error).__name__})", retryable=True) from error


class RemoteRecognizer:
    """Calls the Transcriber deployment; `pipelines.recognition` makes a streaming transcriber of it."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def recognize(self, pcm_16k: bytes) -> Recognition:
        with engine_errors("transcriber"):
            recognition: Recognition = await self._handle.recognize.remote(pcm_16k)
            return recognition


class RemoteRetriever:
    """`pipelines.ports.Retriever` over the Retriever deployment; a search has no side effect, so it is tried twice."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(2),
            wait=wait_fixed(RETRY_DELAY_S),
            retry=retry_if_exception(lambda error: isinstance(error, EngineError) and error.retryable),
            reraise=True,
        ):
            with attempt, engine_errors("retriever"):
                passages: list[Passage] = await self._handle.search.remote(query)
        return passages


class RemoteLanguageModel:
    """`pipelines.ports.LanguageModel` over the LanguageModel deployment."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle.options(stream=True)

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        async for clause in _stream("language model", self._handle.generate.remote(request)):
            yield clause


class RemoteSynthesizer:
    """`pipelines.ports.Synthesizer` over the Synthesizer deployment."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle.options(stream=True)

    async def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        async for chunk in _stream("synthesizer", self._handle.synthesize.remote(request)):
            yield chunk


async def _stream(engine: str, responses: Any) -> AsyncIterator[Any]:
    """Yield what a replica streams; when the consumer stops early, the replica's generator is cancelled."""
    is_done = False
    try:
        with engine_errors(engine):
            async for item in responses:
                yield item
        is_done = True
    finally:
        if not is_done:
            responses.cancel()
