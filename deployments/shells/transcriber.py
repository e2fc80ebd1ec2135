"""Speech recognition as a deployment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from deployments.shells.load import LoadMeter
from pipelines.hearing.windowed import Recognition


class RecognizerEngine(Protocol):
    """Recognises whole utterances."""

    async def recognize(self, pcm_16k: bytes, expected_words: str = "") -> Recognition:
        """Recognise one utterance. `expected_words` are treated as said before it; "" for none."""

    def warm_up(self) -> None:
        """Make the first call as fast as later ones."""


class Transcriber:
    """Serves one recogniser. It is stateless between calls, so another replica can take the next one."""

    def __init__(self, make_engine: Callable[[], RecognizerEngine]) -> None:
        self._engine = make_engine()
        self._engine.warm_up()
        self._load = LoadMeter()

    async def recognize(self, pcm_16k: bytes, expected_words: str = "") -> Recognition:
        with self._load.request():
            return await self._engine.recognize(pcm_16k, expected_words)

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._load.stats()
