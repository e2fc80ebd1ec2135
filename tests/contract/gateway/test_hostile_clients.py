"""What clients do wrong, on purpose or not: the socket stays up, other calls are not harmed, nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cluster.config.parts import GatewayPart
from tests.contract.gateway.serving import ServedGateway, serve_gateway
from tests.contract.gateway.speech import frames, silence, voice

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def gateway() -> Iterator[ServedGateway]:
    with serve_gateway() as served:
        yield served


async def receive(socket: ClientConnection, event_type: str) -> dict[str, Any]:
    """Receive until an event of `event_type` comes."""
    while True:
        event = json.loads(await asyncio.wait_for(socket.recv(), 30))
        if event["type"] == event_type:
            return event


async def assert_alive(socket: ClientConnection) -> None:
    await socket.send('{"type":"input_audio_buffer.clear"}')
    await receive(socket, "input_audio_buffer.cleared")


async def open_calls(gateway: ServedGateway) -> int:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{gateway.http_url}/healthz")).json()["calls"]


async def assert_no_calls_left(gateway: ServedGateway) -> None:
    for _ in range(2_000):
        if await open_calls(gateway) == 0:
            return
        await asyncio.to_thread(lambda: None)
    pytest.fail("a call was left open")


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "not json",
        "[]",
        "null",
        '{"type": 7}',
        '{"type": "no.such.event"}',
        '{"type": "input_audio_buffer.append"}',
        '{"type": "input_audio_buffer.append", "audio": "AAA"}',
        '{"type": "conversation.item.truncate", "item_id": "x", "content_index": -1, "audio_end_ms": "soon"}',
        '{"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"speed": 99}}}}',
        b"\xff\xfe\x00binary",
    ],
)
async def test_gateway_answers_a_malformed_frame_with_an_error_event(
    gateway: ServedGateway, frame: str | bytes
) -> None:
    async with connect(gateway.ws_url) as socket:
        await socket.send(frame)
        error = (await receive(socket, "error"))["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        await assert_alive(socket)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
EVENT_TYPES = st.sampled_from(
    [
        "session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "conversation.item.create",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "conversation.item.delete",
        "response.create",
        "response.cancel",
    ]
)
EVENTS = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    EVENT_TYPES,
    st.dictionaries(st.sampled_from(["audio", "item", "item_id", "session", "response", "event_id"]), JSON, max_size=4),
)


@given(st.lists(EVENTS | JSON, min_size=1, max_size=30))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_gateway_survives_random_events(gateway: ServedGateway, events: list[Any]) -> None:
    async def scenario() -> None:
        async with connect(gateway.ws_url) as socket:
            for event in events:
                await socket.send(json.dumps(event))
            await assert_alive(socket)

    asyncio.run(scenario())


async def test_gateway_frees_a_call_whose_client_vanishes_in_the_middle_of_an_answer(gateway: ServedGateway) -> None:
    gateway.engines.synthesizer.chunk_delay_s = 0.05
    try:
        socket = await connect(gateway.ws_url)
        await socket.send('{"type":"response.create"}')
        await receive(socket, "response.output_audio.delta")
        socket.transport.abort()
        await socket.wait_closed()
        await assert_no_calls_left(gateway)
    finally:
        gateway.engines.synthesizer.chunk_delay_s = 0.0


async def test_gateway_keeps_two_calls_apart(gateway: ServedGateway) -> None:
    async with connect(gateway.ws_url) as first, connect(gateway.ws_url) as second:
        for frame in frames(voice(800) + silence(700)):
            await first.send(json.dumps({"type": "input_audio_buffer.append", "audio": frame}))
        done = await receive(first, "response.done")
        assert done["response"]["status"] == "completed"
        await second.send('{"type":"input_audio_buffer.commit"}')
        assert (await receive(second, "error"))["error"]["code"] == "input_audio_buffer_commit_empty"


async def test_gateway_takes_a_whole_recording_in_one_frame(gateway: ServedGateway) -> None:
    async with connect(gateway.ws_url) as socket:
        whole = frames(voice(2000) + silence(1500), frame_ms=3500)
        assert len(whole) == 1
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": whole[0]}))
        done = await receive(socket, "response.done")
    assert done["response"]["status"] == "completed"


def _full_after_one(part: GatewayPart) -> GatewayPart:
    return part.model_copy(update={"gateway": part.gateway.model_copy(update={"max_calls": 1})})


async def test_gateway_refuses_the_call_beyond_its_limit_before_the_handshake() -> None:
    with serve_gateway(_full_after_one) as gateway:
        async with connect(gateway.ws_url) as socket:
            await receive(socket, "session.created")
            with pytest.raises(InvalidStatus) as refused:
                await connect(gateway.ws_url)
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"]
            assert b"try again later" in refused.value.response.body
            await assert_alive(socket)


async def test_gateway_wants_the_key_in_header_or_subprotocol() -> None:
    with serve_gateway(api_key="correct") as gateway:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic correct"}):
            with pytest.raises(InvalidStatus) as refused:
                await connect(gateway.ws_url, additional_headers=headers)
            assert refused.value.response.status_code == 401
        async with connect(gateway.ws_url, additional_headers={"Authorization": "Bearer correct"}) as socket:
            await receive(socket, "session.created")
        subprotocols: Any = ["realtime", "openai-insecure-api-key.correct"]
        async with connect(gateway.ws_url, subprotocols=subprotocols) as socket:
            assert socket.subprotocol == "realtime"
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{gateway.http_url}/v1/sessions")).status_code == 401


async def test_gateway_drops_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.gateway.call.MAX_UNSENT_BYTES", 2**20)
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x" * 30_000}]}
    request = json.dumps({"type": "conversation.item.create", "item": item})
    with serve_gateway() as gateway:
        socket = await connect(gateway.ws_url, max_queue=1, compression=None)
        try:
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(10):
                    for _ in range(800):  # each is echoed twice: 48 MB, more than all buffers between the two hold
                        await socket.send(request)
            await assert_no_calls_left(gateway)
            async with httpx.AsyncClient() as client:
                metrics = (await client.get(f"{gateway.http_url}/metrics")).text
            assert "voxray_slow_clients_total 1.0" in metrics
        finally:
            socket.transport.abort()
            await socket.wait_closed()
