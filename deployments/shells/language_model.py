"""The language model as a deployment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol

from deployments.shells.load import LoadMeter
from pipelines.errors import Component, EngineError
from pipelines.ports import Clause, GenerationRequest


class LanguageModelEngine(Protocol):
    """A `pipelines.ports.LanguageModel` that can be warmed."""

    def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        """Stream clauses."""

    def warm_up(self) -> None:
        """Make the first answer as fast as later ones."""

    def load_stats(self) -> dict[str, float]:
        """Return load figures that only the engine knows, or {} if it has none."""

    @property
    def is_alive(self) -> bool:
        """False once the engine has died, whereupon the replica is replaced."""


class LanguageModel:
    """Serves one model. It streams clauses rather than tokens, so that a turn costs only a few messages."""

    def __init__(self, make_engine: Callable[[], LanguageModelEngine]) -> None:
        self._engine = make_engine()
        self._engine.warm_up()
        self._load = LoadMeter()

    def check_health(self) -> None:
        if not self._engine.is_alive:
            raise EngineError(Component.LANGUAGE_MODEL, "the engine has died", retryable=True)

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        with self._load.request() as load:
            async with aclosing(self._engine.generate(request)) as clauses:  # type: ignore[type-var]
                async for clause in clauses:
                    self._load.first_output(load)
                    yield clause

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._load.stats() | self._engine.load_stats()
