"""Spoken questions answered in speech from business data, judged by what a recogniser hears in the answer."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import numpy as np
import pytest
from openai import AsyncOpenAI

from cluster.caller.line import TurnResult, open_line
from cluster.caller.questions import speak_question
from cluster.caller.recording import Recording
from cluster.config.agents import agent_of
from pipelines.answering.scoring import comparable
from pipelines.audio.pcm import PCM_24K
from pipelines.audio.wav import write_wav
from tests.e2e.conftest import Embedded

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

# Words and what must be heard in the answer, any one of them.
QUESTIONS = [
    ("How many days do I have to return something I bought?", ["45"]),
    ("How much is regular shipping?", ["6.95", "six ninety five", "six dollars and ninety five"]),
    ("What do I have to spend to get shipping for free?", ["75", "seventy five"]),
    ("Do gift cards expire?", ["never", "not expire", "don't expire", "no"]),
]


async def ask(embedded: Embedded, text: str) -> TurnResult:
    recording = await speak_question(embedded.state.http_url, text)
    async with open_line(embedded.state.ws_url) as line:
        return await line.ask(recording)


async def heard_in(embedded: Embedded, pcm_24k: bytes) -> str:
    """Have the recogniser write down the answer's audio."""
    async with httpx.AsyncClient(timeout=60) as client:
        files = {"file": ("answer.wav", write_wav(pcm_24k, PCM_24K.rate_hz), "audio/wav")}
        response = await client.post(f"{embedded.state.http_url}/v1/audio/transcriptions", files=files)
        return str(response.raise_for_status().json()["text"])


@pytest.mark.parametrize(("question", "facts"), QUESTIONS)
async def test_answer_audio_holds_the_fact(embedded: Embedded, question: str, facts: list[str]) -> None:
    result = await ask(embedded, question)
    assert result.status == "completed"
    heard = comparable(await heard_in(embedded, bytes(result.playout.pcm_24k)))
    assert any(comparable(fact) in heard for fact in facts), heard


async def test_question_that_the_data_does_not_answer_is_refused(embedded: Embedded) -> None:
    result = await ask(embedded, "Who won the football world cup in nineteen ninety eight?")
    assert result.answer.strip() == agent_of(embedded.config).refusal


async def test_answer_is_a_voice_at_a_sound_level(embedded: Embedded) -> None:
    result = await ask(embedded, "How much is regular shipping?")
    samples = np.frombuffer(bytes(result.playout.pcm_24k), "<i2").astype(float)
    level_dbfs = 20 * np.log10(np.sqrt((samples**2).mean()) / 32768)
    assert 1.0 < len(samples) / PCM_24K.rate_hz < 15.0
    assert -35 < level_dbfs < -10
    assert np.abs(samples).max() < 32767


async def test_answer_begins_before_it_is_all_made(embedded: Embedded) -> None:
    """The first audio is sent while the rest is synthesized: several messages, none of them the whole."""
    pieces: list[int] = []

    def note(event: dict[str, Any]) -> None:
        if event["type"] == "response.output_audio.delta":
            pieces.append(PCM_24K.ms_of(len(base64.b64decode(event["delta"]))))

    recording = await speak_question(embedded.state.http_url, "How much is regular shipping?")
    async with open_line(embedded.state.ws_url, on_event=note) as line:
        await line.ask(recording)
    assert len(pieces) > 3
    assert max(pieces) < 0.6 * sum(pieces)


async def test_stock_sdk_holds_a_whole_spoken_call(embedded: Embedded) -> None:
    recording = await speak_question(embedded.state.http_url, "Do gift cards expire?")
    client = AsyncOpenAI(api_key="none", base_url=f"{embedded.state.http_url}/v1")
    async with client.realtime.connect(model="voxray") as connection:
        events = asyncio.create_task(_events_of_answer(connection))
        for frame in _frames(recording):
            await connection.input_audio_buffer.append(audio=frame)
            await asyncio.sleep(0.02)
        transcript, status = await asyncio.wait_for(events, 60)
    assert status == "completed"
    assert "expire" in transcript.lower()


async def _events_of_answer(connection: Any) -> tuple[str, str]:
    transcript = ""
    async for event in connection:
        assert event.type != "error", event
        if event.type == "response.output_audio_transcript.delta":
            transcript += event.delta
        if event.type == "response.done":
            return transcript, event.response.status
    raise AssertionError("the socket closed")


def _frames(recording: Recording) -> list[str]:
    pcm = recording.pcm_24k + PCM_24K.silence(2_000)
    size = PCM_24K.bytes_of(20)
    return [base64.b64encode(pcm[start : start + size]).decode() for start in range(0, len(pcm), size)]


async def test_two_callers_get_their_own_answers(embedded: Embedded) -> None:
    first, second = await asyncio.gather(ask(embedded, QUESTIONS[0][0]), ask(embedded, QUESTIONS[2][0]))
    assert "45" in first.answer
    assert "75" in second.answer
