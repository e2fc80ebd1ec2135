"""How a gateway hears: by sending whole utterances again and again, or by links to a recogniser that streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cluster.config.schema import VoxrayConfig
from deployments.stage_link.keeper import FindReplicas, LinkKeeper
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkPatience
from pipelines.hearing.windowed import Recognizer, WindowedTranscriber
from pipelines.ports import Transcriber

_SECOND_OF_SILENCE = bytes(32_000)
# REST takes recordings up to 120 s; calls end an utterance at `turn.max_utterance_s`, and what precedes it comes too.
_LONGEST_RECORDING_S = 130


@dataclass(frozen=True, slots=True)
class Hearing:
    """Speech recognition as a gateway uses it.

    Attributes:
        transcriber: for calls.
        recognize: a whole recording, for REST.
        links: what keeps the links, None without any.
    """

    transcriber: Transcriber
    recognize: Recognizer
    links: LinkedTranscriber | None = None

    async def warm_up(self) -> None:
        """Recognise a second of silence; waits for the first replica."""
        if self.links is not None:
            await self.links.has_replica.wait()
        await self.recognize(_SECOND_OF_SILENCE)


@asynccontextmanager
async def open_hearing(
    config: VoxrayConfig, recognize: Recognizer, find_recognizers: FindReplicas | None
) -> AsyncIterator[Hearing]:
    """Hear as `transcriber.engine` says; links live as long as this context.

    Args:
        config: the tree.
        recognize: recognises a whole utterance, for engines that do not stream.
        find_recognizers: finds the replicas of one that does; None where there is none.
    """
    if find_recognizers is None:
        interval_ms = config.transcriber.partial_interval_ms
        yield Hearing(WindowedTranscriber(recognize, partial_interval_ms=interval_ms), recognize)
        return
    link = config.transcriber.link
    longest_s = max(_LONGEST_RECORDING_S, config.turn.max_utterance_s + config.turn.prefix_padding_ms / 1000)
    patience = LinkPatience(tick_ms=link.tick_ms, answer_s=link.answer_s, wait_s=link.wait_s, max_utterance_s=longest_s)
    linked = LinkedTranscriber(config.agent.tenant, patience)
    keeper = LinkKeeper(linked, find_recognizers)
    keeper.start()
    try:
        yield Hearing(linked, linked.recognize, linked)
    finally:
        await keeper.aclose()
