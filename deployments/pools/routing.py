"""Implements the ports over several pools of a stage, using the first healthy pool of the route.

A request that fails at one pool before its first output goes to the next, if the failure is retryable. After the first
output it cannot move, since the caller has heard it and another pool would continue differently.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

from deployments.pools.health import PoolHealth
from pipelines.errors import Component, EngineError
from pipelines.hearing.windowed import Recognition
from pipelines.ports import (
    Clause,
    GenerationRequest,
    Hypothesis,
    LanguageModel,
    Passage,
    RetrievalQuery,
    Retriever,
    SpeechChunk,
    SpeechRequest,
    Synthesizer,
    Transcriber,
    TranscriptStream,
)


class RoutedRetriever:
    """`pipelines.ports.Retriever` over the pools of a route."""

    def __init__(self, pools: Mapping[str, Retriever], route: Sequence[str], health: PoolHealth) -> None:
        self._pools, self._route, self._health = pools, tuple(route), health

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        failure = _nobody(Component.RETRIEVER)
        for name in self._health.order(self._route):
            try:
                with self._health.request(name) as request:
                    passages = await self._pools[name].search(query)
                    request.note_output()
                    return passages
            except EngineError as error:
                if not error.retryable:
                    raise
                failure = error
        raise failure


class RoutedLanguageModel:
    """`pipelines.ports.LanguageModel` over the pools of a route.

    When all pools have always missed their budget lately, a request fails at once, so that the caller hears the passage
    without waiting. Meanwhile the first pool is tried from time to time with a caller's question, while nobody waits
    for it.
    """

    def __init__(self, pools: Mapping[str, LanguageModel], route: Sequence[str], health: PoolHealth) -> None:
        self._pools, self._route, self._health = pools, tuple(route), health
        self._trials: set[asyncio.Task[None]] = set()

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        if not self._health.is_worth_waiting_for(self._route):
            self._try(request)
            message = "has not begun an answer within its budget for minutes, and is not waited for"
            raise EngineError(Component.LANGUAGE_MODEL, message, retryable=True)
        answers = _first_that_begins(
            Component.LANGUAGE_MODEL, self._health, self._route, lambda name: self._pools[name].generate(request)
        )
        async with aclosing(answers) as clauses:  # type: ignore[type-var]
            async for clause in clauses:
                yield clause

    def _try(self, request: GenerationRequest) -> None:
        name = self._route[0]
        if self._health.begin_trial(name):
            task = asyncio.create_task(self._until_first_clause(name, request))
            self._trials.add(task)
            task.add_done_callback(self._trials.discard)

    async def _until_first_clause(self, name: str, request: GenerationRequest) -> None:
        tried = replace(request, request_id=f"{request.request_id}-trial")
        try:
            with self._health.request(name) as watched:
                async with aclosing(self._pools[name].generate(tried)) as clauses:  # type: ignore[type-var]
                    await anext(clauses)
                    watched.note_output()
        except (EngineError, StopAsyncIteration):
            return  # the pool's health has recorded it


class RoutedSynthesizer:
    """`pipelines.ports.Synthesizer` over the pools of a route."""

    def __init__(self, pools: Mapping[str, Synthesizer], route: Sequence[str], health: PoolHealth) -> None:
        self._pools, self._route, self._health = pools, tuple(route), health

    async def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        spoken = _first_that_begins(
            Component.SYNTHESIZER, self._health, self._route, lambda name: self._pools[name].synthesize(request)
        )
        async with aclosing(spoken) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk


class Recognizes(Protocol):
    """A transcriber that also recognises whole recordings."""

    def open(self, on_partial: Callable[[Hypothesis], None]) -> TranscriptStream:
        """Open a stream; see `pipelines.ports.Transcriber`."""

    async def recognize(self, pcm_16k: bytes) -> Recognition:
        """Recognise a whole recording."""


class RoutedTranscriber:
    """`pipelines.ports.Transcriber` over the pools of a route.

    An utterance that fails at one pool is replayed to the next.
    """

    def __init__(self, pools: Mapping[str, Recognizes], route: Sequence[str], health: PoolHealth) -> None:
        self._pools, self._route, self._health = pools, tuple(route), health

    def open(self, on_partial: Callable[[Hypothesis], None]) -> TranscriptStream:
        names = self._health.order(self._route)
        return _RoutedStream(self._pools, names, self._health, on_partial)

    async def recognize(self, pcm_16k: bytes) -> Recognition:
        """Recognise a whole recording, for REST."""
        failure = _nobody(Component.TRANSCRIBER)
        for name in self._health.order(self._route):
            try:
                with self._health.request(name) as request:
                    recognition = await self._pools[name].recognize(pcm_16k)
                    request.note_output()
                    return recognition
            except EngineError as error:
                if not error.retryable:
                    raise
                failure = error
        raise failure


class _RoutedStream:
    """One utterance at one pool at a time. Its audio is kept so that the next pool can hear it from the beginning."""

    def __init__(
        self,
        pools: Mapping[str, Transcriber],
        names: Sequence[str],
        health: PoolHealth,
        on_partial: Callable[[Hypothesis], None],
    ) -> None:
        self._pools, self._health, self._on_partial = pools, health, on_partial
        self._name, *self._others = names
        self._stream = pools[self._name].open(on_partial)
        self._audio = bytearray()

    def push(self, pcm_16k: bytes) -> None:
        if self._others:
            self._audio += pcm_16k
        self._stream.push(pcm_16k)

    async def finalize(self) -> Hypothesis:
        while True:
            stream = self._stream
            try:
                with self._health.request(self._name) as request:
                    heard = await stream.finalize()
                    request.note_output()
                    return heard
            except EngineError as error:
                if not error.retryable or not (self._others or stream is not self._stream):
                    raise
                if stream is self._stream:
                    await self._move()

    async def aclose(self) -> None:
        self._audio.clear()
        self._others = []
        await self._stream.aclose()

    async def _move(self) -> None:
        failed, self._name = self._stream, self._others.pop(0)
        self._stream = self._pools[self._name].open(self._on_partial)
        self._stream.push(bytes(self._audio))
        await failed.aclose()


async def _first_that_begins(
    component: Component, health: PoolHealth, route: Sequence[str], start: Callable[[str], AsyncIterator[Any]]
) -> AsyncIterator[Any]:
    """Yield the output of the first pool that produces any."""
    failure = _nobody(component)
    for name in health.order(route):
        has_begun = False
        try:
            with health.request(name) as request:
                async with aclosing(start(name)) as items:  # type: ignore[type-var]
                    async for item in items:
                        has_begun = True
                        request.note_output()
                        yield item
            return
        except EngineError as error:
            if has_begun or not error.retryable:
                raise
            failure = error
    raise failure


def _nobody(component: Component) -> EngineError:
    return EngineError(component, "no pool of the route can be reached", retryable=True)
