"""A bug in one call, on a real socket: said to its client, logged, counted; the other calls go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from deployments.gateway.call import Call
from pipelines.errors import IllegalTransition
from pipelines.session.core import Session
from pipelines.session.stimuli import AudioAppended, ItemCreateRequested, SpeechScored
from pipelines.wire.translate import WireTranslator
from tests.contract.gateway.serving import ServedGateway, serve_gateway
from tests.contract.gateway.speech import frames, voice
from tests.contract.gateway.test_hostile_clients import assert_alive, assert_no_calls_left, receive

pytestmark = pytest.mark.contract

SECRET = "my number is 4242"
Break = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
def gateway() -> Iterator[ServedGateway]:
    with serve_gateway() as served:
        yield served


def core_at(kind: type, error: Exception) -> Break:
    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        receive_rightly = Session.receive

        def breaking(self: Session, stimulus: Any, now_ms: int) -> Any:
            if isinstance(stimulus, kind) and not _is_kept(self):
                raise error
            return receive_rightly(self, stimulus, now_ms)

        monkeypatch.setattr(Session, "receive", breaking)

    return apply


def _is_kept(session: Session) -> bool:
    """The other call shows itself by its instructions."""
    return session.state.settings.instructions == "kept"


def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    inbound = WireTranslator.inbound

    def breaking(self: WireTranslator, text: str | bytes) -> Any:
        if SECRET in str(text):
            raise KeyError(text)
        return inbound(self, text)

    monkeypatch.setattr(WireTranslator, "inbound", breaking)


def writer(monkeypatch: pytest.MonkeyPatch) -> None:
    flush = Call._flush

    async def breaking(self: Call) -> bool:
        is_first_failure = any(SECRET.encode() in message for message in self._unsent)
        if is_first_failure:
            self._unsent.clear()
            raise ValueError(SECRET)
        return await flush(self)

    monkeypatch.setattr(Call, "_flush", breaking)


BREAKS: dict[str, Break] = {
    "core, at a client's event": core_at(ItemCreateRequested, IllegalTransition("input cannot do that")),
    "core, at a frame": core_at(AudioAppended, KeyError(SECRET)),
    "core, in a score callback": core_at(SpeechScored, ValueError(SECRET)),
    "translator": reader,
    "writer": writer,
}


@pytest.mark.parametrize("name", BREAKS)
async def test_a_bug_ends_its_call_loudly_and_no_other(
    gateway: ServedGateway, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    BREAKS[name](monkeypatch)
    async with connect(gateway.ws_url) as kept, connect(gateway.ws_url) as socket:
        await kept.send('{"type":"session.update","session":{"type":"realtime","instructions":"kept"}}')
        await receive(kept, "session.updated")
        with caplog.at_level(logging.ERROR):
            error, closed = await _provoke(socket)
        assert error["error"]["type"] == "server_error"
        assert error["error"]["code"] == "internal_error"
        assert "Connect again" in error["error"]["message"]
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1011
        await assert_alive(kept)
    await assert_no_calls_left(gateway)
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"{gateway.http_url}/metrics")).text
    assert "voxray_failed_calls_total 1.0" in metrics
    (record,) = [record for record in caplog.records if "the call has failed" in record.getMessage()]
    assert 'File "' in record.getMessage(), "where it happened is logged"
    assert SECRET not in caplog.text
    assert record.exc_info is None, "a formatter would print the message of the exception"


async def test_calls_that_end_as_they_should_are_not_counted(gateway: ServedGateway) -> None:
    async with connect(gateway.ws_url) as socket:
        await assert_alive(socket)
    await assert_no_calls_left(gateway)
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"{gateway.http_url}/metrics")).text
    assert "voxray_failed_calls_total 0.0" in metrics


async def _provoke(socket: Any) -> tuple[dict[str, Any], ConnectionClosed]:
    """Send what breaks the call, in every way that is tried here; return the last error event and the end."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": SECRET}]}
    messages = [{"type": "input_audio_buffer.append", "audio": frame} for frame in frames(voice(100))]
    messages.append({"type": "conversation.item.create", "item": item})
    with contextlib.suppress(ConnectionClosed):  # the call may end before all is sent
        for message in messages:
            await socket.send(json.dumps(message))
    errors: list[dict[str, Any]] = []
    while True:
        try:
            event = json.loads(await asyncio.wait_for(socket.recv(), 30))
        except ConnectionClosed as closed:
            return errors[-1], closed
        if event["type"] == "error":
            errors.append(event)
