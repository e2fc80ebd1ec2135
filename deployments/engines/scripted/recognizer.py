"""A scripted recogniser of whole utterances, for the cluster without models."""

from __future__ import annotations

import numpy as np

from deployments.engines.scripted.script import Script
from pipelines.hearing.windowed import Recognition

_SILENCE_PEAK = 300  # about -41 dBFS


class ScriptedRecognizer:
    """Hears `text` in every utterance that is louder than silence."""

    def __init__(self, text: str = "What can you do for me?", script: Script | None = None) -> None:
        self.text = text
        self.script = script or Script()

    async def recognize(self, pcm_16k: bytes, expected_words: str = "") -> Recognition:  # noqa: ARG002 - part of the port
        await self.script.act()
        samples = np.frombuffer(pcm_16k[: len(pcm_16k) // 2 * 2], "<i2").astype(np.int32)
        is_silent = not samples.size or int(np.abs(samples).max()) < _SILENCE_PEAK
        return Recognition("") if is_silent else Recognition(self.text)

    def warm_up(self) -> None:
        """Nothing to warm."""
