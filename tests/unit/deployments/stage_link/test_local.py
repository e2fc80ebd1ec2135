from __future__ import annotations

import asyncio

import pytest

from deployments.engines.scripted.streaming import ScriptedStepper
from deployments.engines.streaming.loop import StreamLoop
from deployments.stage_link.local import WholeUtterances
from tests.contract.stage_link.gateways import loud_pcm

pytestmark = pytest.mark.unit


async def test_utterances_at_a_time_get_each_their_own_text() -> None:
    loop = StreamLoop(ScriptedStepper)
    engine = WholeUtterances(loop)
    engine.warm_up()
    alone = [(await engine.recognize(loud_pcm(500, seed))).text for seed in range(3)]
    together = await asyncio.gather(*(engine.recognize(loud_pcm(500, seed)) for seed in range(3)))
    assert [heard.text for heard in together] == alone
    assert len(set(alone)) == 3
    loop.close()
