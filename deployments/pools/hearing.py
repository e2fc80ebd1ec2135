"""How a gateway uses one pool of recognisers: it sends whole utterances repeatedly, or links to streaming ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from cluster.config.schema import HearingConfig, TurnConfig
from deployments.pools.routing import Recognizes
from deployments.stage_link.keeper import FindReplicas, LinkKeeper
from pipelines.agents.definition import Agent
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkPatience
from pipelines.hearing.windowed import Recognition, Recognizer, WindowedTranscriber
from pipelines.ports import Hypothesis, TranscriptStream

# REST accepts recordings of up to 120 s. Calls end an utterance at `turn.max_utterance_s`, to which its prefix is
# added.
_LONGEST_RECORDING_S = 130


class RemoteRecognition(Protocol):
    """Recognises whole utterances in another process."""

    async def recognize(self, pcm_16k: bytes, expected_words: str) -> Recognition:
        """Recognise one utterance; `expected_words` are treated as said before it; "" for none."""


class TranscriberPool(Protocol):
    """A pool of recognisers as a gateway uses it."""

    @property
    def links(self) -> LinkedTranscriber | None:
        """The transcriber that keeps the links, or None where whole utterances are sent."""

    async def probe(self, pcm_16k: bytes) -> None:
        """Recognise a recording as soon as there is a recogniser, so that the first caller need not wait."""

    def for_agent(self, agent: Agent) -> Recognizes:
        """Return the transcriber for an agent's calls."""

    async def aclose(self) -> None:
        """Release the recognisers."""


@dataclass(frozen=True, slots=True)
class _Windowed:
    recognizer: Recognizer
    partial_interval_ms: int

    def open(self, on_partial: Callable[[Hypothesis], None]) -> TranscriptStream:
        return WindowedTranscriber(self.recognizer, partial_interval_ms=self.partial_interval_ms).open(on_partial)

    async def recognize(self, pcm_16k: bytes) -> Recognition:
        return await self.recognizer(pcm_16k)


class WindowedPool:
    """A pool whose engine recognises whole utterances."""

    links = None

    def __init__(self, remote: RemoteRecognition, hearing: HearingConfig) -> None:
        self._remote = remote
        self._partial_interval_ms = hearing.partial_interval_ms

    async def probe(self, pcm_16k: bytes) -> None:
        await self._remote.recognize(pcm_16k, "")

    def for_agent(self, agent: Agent) -> Recognizes:
        recognizer = partial(self._remote.recognize, expected_words=agent.expected_words)
        return _Windowed(recognizer, self._partial_interval_ms)

    async def aclose(self) -> None:
        """Do nothing, since nothing is held."""


@dataclass(frozen=True, slots=True)
class _Linked:
    transcriber: LinkedTranscriber
    tenant: str

    def open(self, on_partial: Callable[[Hypothesis], None]) -> TranscriptStream:
        return self.transcriber.open(on_partial, tenant=self.tenant)

    async def recognize(self, pcm_16k: bytes) -> Recognition:
        return await self.transcriber.recognize(pcm_16k, tenant=self.tenant)


class LinkedPool:
    """A pool whose engine streams. Links live until `aclose`. Must be created on the event loop."""

    def __init__(self, find: FindReplicas, hearing: HearingConfig, turn: TurnConfig) -> None:
        link = hearing.link
        longest_s = max(_LONGEST_RECORDING_S, turn.max_utterance_s + turn.prefix_padding_ms / 1000)
        self.links = LinkedTranscriber(
            LinkPatience(tick_ms=link.tick_ms, answer_s=link.answer_s, wait_s=link.wait_s, max_utterance_s=longest_s)
        )
        self._keeper = LinkKeeper(self.links, find)
        self._keeper.start()

    async def probe(self, pcm_16k: bytes) -> None:
        await self.links.has_replica.wait()
        await self.links.recognize(pcm_16k)

    def for_agent(self, agent: Agent) -> Recognizes:
        return _Linked(self.links, agent.tenant)

    async def aclose(self) -> None:
        await self._keeper.aclose()
