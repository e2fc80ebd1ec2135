"""Speech synthesis as a deployment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol

from deployments.shells.load import LoadMeter
from pipelines.audio.pcm import PCM_24K
from pipelines.ports import SpeechChunk, SpeechRequest


class SynthesizerEngine(Protocol):
    """A `pipelines.ports.Synthesizer` that can be warmed."""

    def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        """Stream audio."""

    def warm_up(self) -> None:
        """Make the first clause as fast as later ones."""


class Synthesizer:
    """Serves one voice and streams audio as it is produced."""

    def __init__(self, make_engine: Callable[[], SynthesizerEngine]) -> None:
        self._engine = make_engine()
        self._engine.warm_up()
        self._load = LoadMeter()

    async def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        with self._load.request() as load:
            async with aclosing(self._engine.synthesize(request)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    self._load.first_output(load)
                    load.audio_s += PCM_24K.seconds_of(len(chunk.pcm_24k))
                    yield chunk

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._load.stats()
