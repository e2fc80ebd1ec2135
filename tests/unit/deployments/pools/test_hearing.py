"""How a gateway hears by a pool, whichever way its engine recognises."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import generate_latest

from cluster.config.schema import HearingConfig, TurnConfig
from deployments.gateway.metrics import GatewayMetrics
from deployments.pools.hearing import LinkedPool, WindowedPool
from deployments.stage_link.keeper import Found
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkPatience
from pipelines.hearing.windowed import Recognition, WindowedStream
from tests.agents import agent
from tests.unit.pipelines.hearing.replicas import LetterReplica, turns_of_the_loop

pytestmark = pytest.mark.unit


class Whole:
    """Recognises every utterance as one word, and remembers what it was told to expect."""

    def __init__(self) -> None:
        self.expected: list[str] = []

    async def recognize(self, pcm_16k: bytes, expected_words: str) -> Recognition:
        self.expected.append(expected_words)
        return Recognition("whole")


async def nobody() -> Found:
    return Found([])


async def test_whole_utterances_are_sent_with_the_words_that_the_agent_expects() -> None:
    remote = Whole()
    pool = WindowedPool(remote, HearingConfig())
    await pool.probe(b"")
    transcriber = pool.for_agent(agent(expected_words="The Larkspur tent."))
    assert isinstance(transcriber.open(lambda _heard: None), WindowedStream)
    assert (await transcriber.recognize(b"")).text == "whole"
    assert remote.expected == ["", "The Larkspur tent."]
    assert pool.links is None
    await pool.aclose()


async def test_linked_pool_is_warm_when_the_first_recogniser_has_answered() -> None:
    pool = LinkedPool(nobody, HearingConfig(), TurnConfig())
    warming = asyncio.create_task(pool.probe(bytes(32_000)))
    await turns_of_the_loop()
    assert not warming.done()
    replica = LetterReplica(pool.links, "one")
    while not warming.done():
        await turns_of_the_loop(1)
        replica.work()
    await warming
    assert replica.opened == 1
    await pool.aclose()


def test_links_show_in_the_metrics_of_a_gateway_that_has_some() -> None:
    metrics, linked = GatewayMetrics(), list[LinkedTranscriber]()
    metrics.watch_links(lambda: linked)
    assert b"voxray_recognizers" not in generate_latest(metrics.registry)
    linked += [LinkedTranscriber(LinkPatience()), LinkedTranscriber(LinkPatience())]
    LetterReplica(linked[0], "one")
    LetterReplica(linked[1], "two")
    linked[0].lose("one")
    shown = generate_latest(metrics.registry).decode()
    assert "voxray_recognizers 1.0" in shown
    assert "voxray_recognizer_links_lost_total 1.0" in shown
