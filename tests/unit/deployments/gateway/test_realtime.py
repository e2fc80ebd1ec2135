"""The handshake of a call: who gets in, whose agent answers, and what who does not get in is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deployments.gateway.access import ALL_SCOPES, Principal
from deployments.gateway.realtime import agent_for
from pipelines.agents.directory import UnknownAgentError
from tests.unit.deployments.gateway.scripted_gateway import ANSWER, KEY, Dialled, dial, scripted_gateway

pytestmark = pytest.mark.unit
ANYBODY = Principal(None, "loopback", ALL_SCOPES)


async def refusal(socket: Dialled) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return status, headers and error of a handshake that was refused."""
    start, body = await socket.next_message(), await socket.next_message()
    await socket.task
    assert start["type"] == "websocket.http.response.start"
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, json.loads(body["body"])["error"]


async def test_call_is_held_and_counted_until_the_caller_hangs_up() -> None:
    async with scripted_gateway() as gateway:
        socket = dial(gateway.app)
        assert (await socket.next_message())["type"] == "websocket.accept"
        session_id = (await socket.until("session.created"))["session"]["id"]
        assert list(gateway.service.live) == [session_id]
        assert gateway.service.admission.calls == 1
        await socket.hang_up()
        assert gateway.service.live == {}
        assert gateway.service.admission.calls == 0


async def test_call_answers_a_question_that_is_written() -> None:
    async with scripted_gateway() as gateway:
        socket = dial(gateway.app)
        await socket.next_message()
        await socket.say({"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}})
        content = [{"type": "input_text", "text": "How many days do I have to return an item?"}]
        item = {"type": "message", "role": "user", "content": content}
        await socket.say({"type": "conversation.item.create", "item": item})
        await socket.say({"type": "response.create"})
        assert (await socket.until("response.output_text.done"))["text"] == ANSWER
        await socket.hang_up()


@pytest.mark.parametrize(
    ("subprotocols", "accepted"),
    [
        (("realtime", f"openai-insecure-api-key.{KEY}"), "realtime"),
        ((f"openai-insecure-api-key.{KEY}",), None),
    ],
)
async def test_browser_shows_its_key_as_a_subprotocol_which_is_not_sent_back(
    subprotocols: tuple[str, ...], accepted: str | None
) -> None:
    async with scripted_gateway() as gateway:
        socket = dial(gateway.app, headers={}, subprotocols=subprotocols)
        assert (await socket.next_message())["subprotocol"] == accepted
        await socket.hang_up()


@pytest.mark.parametrize("subprotocols", [(), ("realtime", "openai-insecure-api-key.wrong")])
async def test_stranger_is_refused_before_the_handshake(subprotocols: tuple[str, ...]) -> None:
    async with scripted_gateway() as gateway:
        status, _, error = await refusal(dial(gateway.app, headers={}, subprotocols=subprotocols))
        assert (status, error["code"]) == (401, "invalid_api_key")
        assert error["message"] == "Show the API key as a bearer token."
        assert gateway.service.admission.arrivals == 0


async def test_unknown_agent_is_refused_and_takes_no_place() -> None:
    async with scripted_gateway(max_calls=1) as gateway:
        status, _, error = await refusal(dial(gateway.app, "agent=nobody"))
        assert (status, error["code"]) == (404, "model_not_found")
        assert all(name in error["message"] for name in gateway.service.agents.names(tenant=None))
        assert (gateway.service.admission.calls, gateway.service.live) == (0, {})


async def test_full_gateway_says_when_to_try_again_and_counts_the_refusal() -> None:
    async with scripted_gateway(max_calls=1) as gateway:
        first = dial(gateway.app)
        await first.until_accepted()
        status, headers, error = await refusal(dial(gateway.app))
        assert (status, error["code"], headers["retry-after"]) == (503, "capacity", "2")
        assert gateway.service.metrics.refused_calls._value.get() == 1
        await first.hang_up()
        second = dial(gateway.app)
        await second.until_accepted()
        await second.hang_up()


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({}, ""),
        ({"model": "voxray"}, ""),
        ({"model": "night"}, "night"),
        ({"agent": "night", "model": "gpt-realtime"}, "night"),
        ({"agent": "", "model": "night"}, "night"),
    ],
)
def test_agent_comes_before_model_and_stock_names_mean_the_default(query: dict[str, str], name: str) -> None:
    class Directory:
        def find(self, name: str, *, tenant: str | None) -> Any:
            return name, tenant

    acme = Principal("acme", "key", ALL_SCOPES)
    directory: Any = Directory()
    assert agent_for(directory, acme, query) == (name, "acme")


async def test_agent_that_there_is_not_is_an_error_that_names_those_there_are() -> None:
    async with scripted_gateway() as gateway:
        agents = gateway.service.agents
        assert agent_for(agents, ANYBODY, {}).name == agent_for(agents, ANYBODY, {"model": "voxray"}).name
        with pytest.raises(UnknownAgentError, match="nobody"):
            agent_for(agents, ANYBODY, {"model": "nobody"})
