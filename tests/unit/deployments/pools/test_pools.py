"""The pools of a gateway come, change and go under calls."""

from __future__ import annotations

import asyncio

import pytest

from cluster.config.parts import GatewayPart
from deployments.pools.offer import PoolOffer
from deployments.pools.pools import Pools
from pipelines.errors import CapacityError, Component, EngineError
from pipelines.ports import ChatMessage, GenerationRequest
from tests.agents import agent
from tests.unit.deployments.pools.scripted_pools import ScriptedConnector, offer

pytestmark = pytest.mark.unit
PROMPT = GenerationRequest("r", (ChatMessage("user", "Hello"),), max_tokens=9)


@pytest.fixture
def connect() -> ScriptedConnector:
    return ScriptedConnector()


@pytest.fixture
def pools(connect: ScriptedConnector) -> Pools:
    return Pools(connect, GatewayPart(longest_call_s=3600, agents_folder=""))


async def settled() -> None:
    """Let tasks that were only started run to their end."""
    for _ in range(5):
        await asyncio.sleep(0)  # noqa: TID251 - one turn of the loop


async def test_new_pool_is_used_once_before_calls_get_it(pools: Pools, connect: ScriptedConnector) -> None:
    await pools.take(offer())
    assert [request.request_id for request in connect.made["language_model-default"].requests] == ["warm-up"]
    assert len(connect.made["retriever-default"].queries) == 1
    assert len(connect.made["synthesizer-default"].requests) == 1


async def test_same_offer_again_connects_nothing_anew(pools: Pools, connect: ScriptedConnector) -> None:
    await pools.take(offer())
    before = dict(connect.made)
    await pools.take(offer())
    assert connect.made == before
    assert len(connect.made["language_model-default"].requests) == 1


async def test_added_pool_is_for_agents_that_name_it(pools: Pools, connect: ScriptedConnector) -> None:
    await pools.take(offer(language_model=["default", "large"]))
    with pools.hold(agent(pools={"language_model": ["large"]})) as engines:
        assert [clause async for clause in engines.language_model.generate(PROMPT)]
    assert [request.request_id for request in connect.made["language_model-large"].requests] == ["warm-up", "r"]
    assert [request.request_id for request in connect.made["language_model-default"].requests] == ["warm-up"]


async def test_agent_that_names_an_unknown_pool_is_told_which_there_are(pools: Pools) -> None:
    await pools.take(offer())
    with pytest.raises(CapacityError, match="wants the language model pool large; there are: default"):
        pools.hold(agent(pools={"language_model": ["large"]})).__enter__()


async def test_removed_pool_stays_until_the_calls_that_hold_it_have_ended(
    pools: Pools, connect: ScriptedConnector
) -> None:
    await pools.take(offer(transcriber=["default", "other"]))
    going = connect.made["transcriber-other"]
    with pools.hold(agent(pools={"transcriber": ["other"]})) as engines:
        await pools.take(offer())
        await settled()
        assert pools.calls_of("transcriber-other") == 1
        assert (await engines.transcriber.recognize(b"\1\7" * 1600)).text
        assert not going.is_closed
        with pytest.raises(CapacityError, match="there are: default"):
            pools.hold(agent(pools={"transcriber": ["other"]})).__enter__()
    await settled()
    assert pools.calls_of("transcriber-other") == 0
    assert going.is_closed


async def test_pool_of_another_application_takes_the_place_of_the_old_one_for_new_calls(
    pools: Pools, connect: ScriptedConnector
) -> None:
    await pools.take(offer())
    with pools.hold(agent()):
        changed = offer()
        entry = changed.pools[Component.TRANSCRIBER]["default"].model_copy(update={"application": "streams"})
        streams = {**changed.pools, Component.TRANSCRIBER: {"default": entry}}
        await pools.take(PoolOffer(pools=streams, routes=changed.routes))
        assert pools.calls_of("transcriber-default") == 1
        with pools.hold(agent()):
            assert pools.calls_of("streams") == 1
    await settled()
    assert connect.made["transcriber-default"].is_closed
    assert not connect.made["streams"].is_closed


async def test_other_name_of_a_model_is_shown_without_a_new_connection(
    pools: Pools, connect: ScriptedConnector
) -> None:
    await pools.take(offer())
    renamed = offer()
    entry = renamed.pools[Component.SYNTHESIZER]["default"].model_copy(update={"model": "another"})
    named = {**renamed.pools, Component.SYNTHESIZER: {"default": entry}}
    await pools.take(PoolOffer(pools=named, routes=renamed.routes))
    with pools.hold(agent()) as engines:
        assert engines.voice == "another"
    assert len(connect.made["synthesizer-default"].requests) == 1


async def test_pool_that_cannot_be_warmed_is_offered_all_the_same(
    pools: Pools, connect: ScriptedConnector, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(ScriptedConnector):
        def __call__(self, component: Component, name: str, entry: object) -> object:
            made = super().__call__(component, name, entry)  # type: ignore[arg-type]
            if component is Component.SYNTHESIZER:
                made.script.failures.append(EngineError(component, "no weights", retryable=False))
            return made

    failing = Pools(Failing(), GatewayPart(longest_call_s=3600, agents_folder=""))
    await failing.take(offer())
    with failing.hold(agent()) as engines:
        assert engines.voice == "default"
    assert "warm-up of the synthesizer pool default: EngineError" in caplog.text


async def test_places_in_a_route_of_several_pools_are_told(pools: Pools) -> None:
    await pools.take(offer(language_model=["neuron", "default"]))
    assert pools.route_places() == {"language_model-neuron": 0, "language_model-default": 1}
