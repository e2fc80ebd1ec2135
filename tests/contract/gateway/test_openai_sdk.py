"""The stock OpenAI SDK against a gateway on a real socket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.contract.gateway.serving import RETURN_SENTENCE, ServedGateway, serve_gateway
from tests.contract.gateway.speech import frames, silence, voice

pytestmark = pytest.mark.contract


@pytest.fixture
def gateway() -> Iterator[ServedGateway]:
    with serve_gateway() as served:
        yield served


@asynccontextmanager
async def connected(gateway: ServedGateway) -> AsyncIterator[Any]:
    client = AsyncOpenAI(api_key="any", base_url=f"{gateway.http_url}/v1")
    async with client.realtime.connect(model="voxray") as connection:
        assert (await connection.recv()).type == "session.created"
        yield connection


async def until(connection: Any, event_type: str) -> list[Any]:
    """Receive until an event of `event_type` has come; return all, that one last."""
    events = []
    while True:
        event = await asyncio.wait_for(connection.recv(), 30)
        events.append(event)
        assert event.type != "error" or event_type == "error", event
        if event.type == event_type:
            return events


async def speak(connection: Any, pcm: bytes) -> None:
    for frame in frames(pcm):
        await connection.input_audio_buffer.append(audio=frame)


def of_type(events: list[Any], event_type: str) -> list[Any]:
    return [event for event in events if event.type == event_type]


async def test_sdk_holds_a_spoken_turn(gateway: ServedGateway) -> None:
    async with connected(gateway) as connection:
        await speak(connection, silence(200) + voice(800) + silence(600))
        events = await until(connection, "response.done")
    types = [event.type for event in events]
    order = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_item.done",
        "response.done",
    ]
    positions = [types.index(event_type) for event_type in order]
    assert positions == sorted(positions)
    text = "".join(event.delta for event in of_type(events, "response.output_audio_transcript.delta"))
    assert text == RETURN_SENTENCE
    audio = b"".join(base64.b64decode(event.delta) for event in of_type(events, "response.output_audio.delta"))
    assert len(audio) / 48_000 > 1.0
    assert events[-1].response.status == "completed"


async def test_sdk_holds_a_text_turn(gateway: ServedGateway) -> None:
    async with connected(gateway) as connection:
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await until(connection, "session.updated")
        content = [{"type": "input_text", "text": "How long do I have to return a tent?"}]
        await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        await connection.response.create()
        events = await until(connection, "response.done")
    assert of_type(events, "response.output_text.done")[0].text == RETURN_SENTENCE


async def test_sdk_interrupts_the_answer_by_speaking(gateway: ServedGateway) -> None:
    gateway.engines.synthesizer.chunk_delay_s = 0.1
    async with connected(gateway) as connection:
        await speak(connection, voice(800) + silence(600))
        events = await until(connection, "response.output_audio.delta")
        await speak(connection, voice(300))
        events += await until(connection, "response.done")
        item_id = of_type(events, "response.output_item.added")[0].item.id
        await connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=50)
        await until(connection, "conversation.item.truncated")
    response = events[-1].response
    assert (response.status, response.status_details.reason) == ("cancelled", "turn_detected")


async def test_sdk_takes_a_manual_turn(gateway: ServedGateway) -> None:
    async with connected(gateway) as connection:
        manual = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await connection.session.update(session=manual)
        await until(connection, "session.updated")
        await speak(connection, voice(500))
        await connection.input_audio_buffer.commit()
        events = await until(connection, "conversation.item.input_audio_transcription.completed")
        assert not of_type(events, "response.created")
        await connection.response.create()
        events = await until(connection, "response.done")
    assert events[-1].response.status == "completed"


async def test_sdk_cancels_a_response(gateway: ServedGateway) -> None:
    gateway.engines.synthesizer.chunk_delay_s = 0.2
    async with connected(gateway) as connection:
        await connection.response.create()
        await until(connection, "response.output_audio.delta")
        await connection.response.cancel()
        events = await until(connection, "response.done")
    assert events[-1].response.status_details.reason == "client_cancelled"


async def test_sdk_gets_an_error_event_and_keeps_its_socket(gateway: ServedGateway) -> None:
    async with connected(gateway) as connection:
        await connection.send({"type": "input_audio_buffer.append", "event_id": "mine", "audio": "%%%"})
        error = (await until(connection, "error"))[-1].error
        assert error.event_id == "mine"
        await connection.input_audio_buffer.clear()
        await until(connection, "input_audio_buffer.cleared")


async def test_sdk_speaks_mu_law(gateway: ServedGateway) -> None:
    async with connected(gateway) as connection:
        formats = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}}
        await connection.session.update(session={"type": "realtime", "audio": formats})
        await until(connection, "session.updated")
        await connection.response.create()
        events = await until(connection, "response.done")
    audio = b"".join(base64.b64decode(event.delta) for event in of_type(events, "response.output_audio.delta"))
    assert len(audio) > 8_000
