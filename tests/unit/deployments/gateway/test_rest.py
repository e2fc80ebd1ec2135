"""REST beside the socket: who is let in, what is answered, and what a client is told when something is wrong."""

from __future__ import annotations

import io
import wave
from typing import Any

import httpx
import numpy as np
import pytest

from deployments.gateway import rest
from pipelines.errors import Component, EngineError
from tests.unit.deployments.gateway.scripted_gateway import ANSWER, HEARD, client_of, scripted_gateway

pytestmark = pytest.mark.unit
WARM_UP = 1  # request that each engine has had before the first caller's
ASKED = {"messages": [{"role": "user", "content": "How many days do I have to return an item?"}]}


def wav(seconds: float, *, width: int = 2, level: int = 8000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(np.full(int(8000 * seconds), level, "<i2").tobytes())
    return buffer.getvalue()


def upload(data: bytes, **fields: str) -> dict[str, Any]:
    return {"files": {"file": ("speech.wav", data)}, "data": fields}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/sessions", None),
        ("GET", "/v1/models", None),
        ("POST", "/v1/chat/completions", ASKED),
        ("POST", "/v1/audio/speech", {"input": "Hello."}),
    ],
)
@pytest.mark.parametrize("shown", [None, "Bearer wrong", "Basic right"])
async def test_caller_without_the_key_is_told_to_show_it(method: str, path: str, body: Any, shown: str | None) -> None:
    async with scripted_gateway() as gateway, client_of(gateway.app) as stranger:
        headers = {"Authorization": shown} if shown else {}
        refused = await stranger.request(method, path, json=body, headers=headers)
        assert (refused.status_code, refused.json()["detail"]) == (401, "Show the API key as a bearer token.")
        for engine in (gateway.language_model, gateway.synthesizer):
            assert len(engine.requests) == WARM_UP


async def test_health_and_metrics_are_open_and_tell_calls_and_drain() -> None:
    async with scripted_gateway() as gateway, client_of(gateway.app) as stranger:
        with gateway.service.admission.admit():
            assert (await stranger.get("/healthz")).json() == {"status": "ok", "calls": 1}
        gateway.service.admission.is_draining = True
        assert (await stranger.get("/healthz")).json() == {"status": "draining", "calls": 0}
        gateway.service.metrics.refused_calls.inc()
        text = (await stranger.get("/metrics")).text
        assert any("refused" in line and line.endswith(" 1.0") for line in text.splitlines())


async def test_open_calls_are_listed_with_their_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.gateway.rest.time.time", lambda: 1_012.34)
    async with scripted_gateway() as gateway:
        gateway.service.live["sess_1"] = 1_000.0
        assert (await gateway.client.get("/v1/sessions")).json() == {"data": [{"id": "sess_1", "age_s": 12.3}]}


async def test_chat_answers_from_the_passages_and_names_them() -> None:
    async with scripted_gateway() as gateway:
        answer = (await gateway.client.post("/v1/chat/completions", json=ASKED)).json()
    choice = answer["choices"][0]
    assert (choice["message"], choice["finish_reason"]) == ({"role": "assistant", "content": ANSWER}, "stop")
    assert answer["voxray"]["sources"] == ["faq/returns.md"]
    assert answer["voxray"]["chosen"] == "faq/returns.md"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


async def test_chat_reads_a_follow_up_by_what_was_said_before_and_limits_the_answer() -> None:
    before = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Do you sell the Larkspur tent?"},
        {"role": "assistant", "content": "Yes, in three sizes."},
    ]
    body = {"messages": [*before, {"role": "user", "content": "And how long can I return it?"}], "max_tokens": 7}
    async with scripted_gateway() as gateway:
        answer = (await gateway.client.post("/v1/chat/completions", json=body)).json()
        asked, searched = gateway.language_model.requests[-1], gateway.retriever.queries[-1].text
    assert "larkspur" in searched.lower()
    assert "brief" not in searched.lower()
    assert asked.max_tokens == 7
    assert answer["usage"]["completion_tokens"] <= 7


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"messages": [{"role": "assistant", "content": "Hello."}]}, 400, "The last message must come from the user."),
        ({**ASKED, "model": "nobody"}, 404, "nobody"),
        ({"messages": []}, 422, "messages"),
        ({**ASKED, "max_tokens": 0}, 422, "max_tokens"),
        ({"messages": [{"role": "user", "content": "x" * 20_001}]}, 422, "content"),
    ],
)
async def test_chat_that_cannot_be_answered_says_why(body: Any, status: int, words: str) -> None:
    async with scripted_gateway() as gateway:
        refused = await gateway.client.post("/v1/chat/completions", json=body)
        assert refused.status_code == status
        assert words in refused.text
        assert len(gateway.language_model.requests) == WARM_UP


async def test_failed_engine_is_named_and_may_be_asked_again() -> None:
    async with scripted_gateway() as gateway:
        failure = EngineError(Component.SYNTHESIZER, "out of memory", retryable=False)
        gateway.synthesizer.script.failures.append(failure)
        refused = await gateway.client.post("/v1/audio/speech", json={"input": "Hello."})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert "synthesizer failed; try again" in refused.json()["error"]["message"]
        assert "memory" not in refused.text


async def test_speech_is_a_wav_file_or_the_same_samples_raw() -> None:
    async with scripted_gateway() as gateway:
        asked = {"input": "Hello there.", "voice": "warm", "speed": 1.25}
        whole = await gateway.client.post("/v1/audio/speech", json=asked)
        raw = await gateway.client.post("/v1/audio/speech", json={**asked, "response_format": "pcm"})
        request = gateway.synthesizer.requests[-1]
    assert (request.text, request.voice, request.speed) == ("Hello there.", "warm", 1.25)
    assert whole.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(whole.content)) as file:
        assert (file.getframerate(), file.getnchannels()) == (24_000, 1)
        assert file.readframes(file.getnframes()) == raw.content
    assert len(raw.content) > 2 * 24_000 // 4


@pytest.mark.parametrize("wrong", [{"input": ""}, {"speed": 3}, {"response_format": "mp3"}, {"input": "x" * 4097}])
async def test_speech_that_is_not_given_is_refused_by_its_field(wrong: dict[str, Any]) -> None:
    async with scripted_gateway() as gateway:
        refused = await gateway.client.post("/v1/audio/speech", json={"input": "Hello.", **wrong})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["body", next(iter(wrong))]


async def test_recording_is_recognised_whatever_its_rate() -> None:
    heard: list[int] = []
    async with scripted_gateway() as gateway:
        recognize = gateway.recognizer.recognize

        async def keep(pcm_16k: bytes, expected_words: str = "") -> Any:
            heard.append(len(pcm_16k))
            return await recognize(pcm_16k, expected_words)

        gateway.recognizer.recognize = keep  # type: ignore[method-assign]
        answer = await gateway.client.post("/v1/audio/transcriptions", **upload(wav(1.5), model="fernhollow"))
    assert answer.json() == {"text": HEARD}
    assert heard == [int(1.5 * 16_000) * 2]


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"no sound at all", 400, "not a readable WAV file"),
        (wav(0.5, width=1), 400, "16-bit PCM is needed"),
        (wav(0.0), 400, "holds no audio"),
        (wav(rest.MAX_TRANSCRIPTION_S + 1), 413, f"longer than {rest.MAX_TRANSCRIPTION_S} s"),
    ],
)
async def test_file_that_is_no_recording_is_refused_with_the_reason(data: bytes, status: int, words: str) -> None:
    async with scripted_gateway() as gateway:
        refused = await gateway.client.post("/v1/audio/transcriptions", **upload(data))
        assert refused.status_code == status
        assert words in refused.json()["detail"]


async def test_upload_that_is_too_large_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MAX_UPLOAD_BYTES", 2**20)
    async with scripted_gateway() as gateway:
        refused: httpx.Response = await gateway.client.post("/v1/audio/transcriptions", **upload(bytes(2**20 + 1)))
        assert (refused.status_code, refused.json()["detail"]) == (413, "The file is larger than 1 MiB.")


async def test_agents_are_what_can_be_asked_for_as_models() -> None:
    async with scripted_gateway() as gateway:
        listed = (await gateway.client.get("/v1/models")).json()
        assert [model["id"] for model in listed["data"]] == list(gateway.service.agents.names(tenant=None))
        assert {model["owned_by"] for model in listed["data"]} == {"voxray"}
