"""Uses a streaming recogniser in this process for whole utterances, to measure it without a socket."""

from __future__ import annotations

import asyncio

from pipelines.hearing.link import StreamingRecognizer, StreamResult
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkPatience
from pipelines.hearing.windowed import Recognition

_NAME = "local"
# A measurement overloads the engine on purpose, so it waits patiently.
_PATIENCE = LinkPatience(tick_ms=5, answer_s=299.0, wait_s=300.0)


class WholeUtterances:
    """Recognises many whole utterances at a time, each through its own stream."""

    def __init__(self, recognizer: StreamingRecognizer) -> None:
        self._recognizer = recognizer
        self._linked: LinkedTranscriber | None = None

    def warm_up(self) -> None:
        self._recognizer.warm_up()

    async def recognize(self, pcm_16k: bytes) -> Recognition:
        """Recognise one utterance; see `LinkedTranscriber.recognize` for errors. Used on one event loop."""
        if self._linked is None:
            self._linked = self._link()
        return await self._linked.recognize(pcm_16k)

    def _link(self) -> LinkedTranscriber:
        loop, linked = asyncio.get_running_loop(), LinkedTranscriber(patience=_PATIENCE)

        def hand_over(results: list[StreamResult]) -> None:
            loop.call_soon_threadsafe(linked.deliver, _NAME, results)

        slots = int(self._recognizer.stats().get("slots", 1))
        linked.join(_NAME, self._recognizer.open_link(hand_over), streams=0, slots=slots)
        return linked
