"""The REST API: health, metrics, sessions, and OpenAI-style chat, speech and transcription."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from deployments.gateway.access import Principal
from deployments.gateway.realtime import agent_for
from deployments.gateway.service import GatewayService
from pipelines.audio.pcm import PCM_16K, PCM_24K
from pipelines.audio.wav import WavError, pcm_16k_from_wav, wav_header
from pipelines.ports import AnswerClause, AnswerFinished, PassagesFound, SpeechRequest
from pipelines.session.effects import Line, StartAnswer
from pipelines.session.items import Role

MAX_UPLOAD_BYTES = 25 * 1024 * 1024
# The length of audio that fits into one message between replicas (4 MiB).
MAX_TRANSCRIPTION_S = 120
MAX_SPEECH_CHARS = 4096


def service_of(request: Request) -> GatewayService:
    service: GatewayService = request.app.state.service
    return service


def principal_of(request: Request) -> Principal:
    """Return the principal of a request. Without a known key the request is refused with 401."""
    principal = service_of(request).access.principal(request.headers)
    if principal is None:
        raise HTTPException(401, "Show the API key as a bearer token.")
    return principal


Caller = Annotated[Principal, Depends(principal_of)]
Service = Annotated[GatewayService, Depends(service_of)]
open_router = APIRouter()
router = APIRouter(prefix="/v1")


@open_router.get("/healthz")
async def health(request: Request) -> dict[str, Any]:
    """Report that the gateway is up, and how full it is."""
    service: GatewayService = request.app.state.service
    status = "draining" if service.admission.is_draining else "ok"
    return {"status": status, "calls": service.admission.calls}


@open_router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the Prometheus metrics of this replica, which contain no speech and no names."""
    service: GatewayService = request.app.state.service
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/sessions")
async def sessions(service: Service, _caller: Caller) -> dict[str, Any]:
    """List the open calls of this replica."""
    now_s = time.time()
    return {"data": [{"id": key, "age_s": round(now_s - since_s, 1)} for key, since_s in service.live.items()]}


class ChatMessageIn(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=20_000)


class ChatIn(BaseModel):
    """The parts of an OpenAI chat request that are supported. Others are ignored."""

    messages: list[ChatMessageIn] = Field(min_length=1, max_length=200)
    model: str = ""
    max_tokens: int | None = Field(default=None, ge=1, le=4096)


@router.post("/chat/completions")
async def chat(body: ChatIn, service: Service, caller: Caller) -> dict[str, Any]:
    """Answer a written question from the company's data, and name the passages that the answer rests on."""
    order = _order_from(body)
    agent = agent_for(service.agents, caller, {"model": body.model})
    text, passages, finished = "", PassagesFound((), None, 0.0), None
    with service.hold(agent) as held:
        async with aclosing(held.engines.answerer.answer(order)) as events:  # type: ignore[type-var]
            async for event in events:
                match event:
                    case PassagesFound():
                        passages = event
                    case AnswerClause():
                        text += event.text
                    case AnswerFinished():
                        finished = event
    if finished is None:
        raise HTTPException(503, "The answer ended early; try again.")
    return {
        "id": f"chatcmpl-{time.time_ns():x}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.model or agent.name,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text.strip()}, "finish_reason": "stop"},
        ],
        "usage": {
            "prompt_tokens": finished.prompt_tokens,
            "completion_tokens": finished.completion_tokens,
            "total_tokens": finished.prompt_tokens + finished.completion_tokens,
        },
        "voxray": {
            "grounding": str(finished.grounded),
            "sources": [passage.source for passage in passages.passages],
            "chosen": passages.chosen.source if passages.chosen else None,
        },
    }


class SpeechIn(BaseModel):
    """An OpenAI speech request. The result is WAV or raw 24 kHz PCM16."""

    input: str = Field(min_length=1, max_length=MAX_SPEECH_CHARS)
    model: str = ""
    voice: str = ""
    response_format: Literal["wav", "pcm"] = "wav"
    speed: float = Field(default=1.0, ge=0.25, le=1.5)


@router.post("/audio/speech")
async def speech(body: SpeechIn, service: Service, caller: Caller) -> Response:
    """Speak a text."""
    request = SpeechRequest(body.input, body.voice, body.speed)
    agent = agent_for(service.agents, caller, {"model": body.model})

    async def pieces() -> AsyncIterator[bytes]:
        with service.hold(agent) as held:
            async with aclosing(held.engines.synthesizer.synthesize(request)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk.pcm_24k

    if body.response_format == "pcm":
        return StreamingResponse(pieces(), media_type="audio/pcm")
    pcm = b"".join([piece async for piece in pieces()])
    return Response(wav_header(len(pcm), PCM_24K.rate_hz) + pcm, media_type="audio/wav")


@router.post("/audio/transcriptions")
async def transcription(
    service: Service, caller: Caller, file: Annotated[UploadFile, File()], model: Annotated[str, Form()] = ""
) -> dict[str, str]:
    """Recognise a WAV file (any rate, mono or stereo, PCM16)."""
    data = await file.read(MAX_UPLOAD_BYTES + 1)
    if len(data) > MAX_UPLOAD_BYTES:
        raise HTTPException(413, f"The file is larger than {MAX_UPLOAD_BYTES // 2**20} MiB.")
    try:
        pcm_16k = await asyncio.to_thread(pcm_16k_from_wav, data)
    except WavError as error:
        raise HTTPException(400, str(error)) from None
    if len(pcm_16k) > MAX_TRANSCRIPTION_S * PCM_16K.bytes_per_s:
        raise HTTPException(413, f"The recording is longer than {MAX_TRANSCRIPTION_S} s.")
    with service.hold(agent_for(service.agents, caller, {"model": model})) as held:
        return {"text": (await held.transcriber.recognize(pcm_16k)).text}


@router.get("/models")
async def models(service: Service, caller: Caller) -> dict[str, Any]:
    """List the valid values of `model`, which are the agents."""
    names = service.agents.names(tenant=caller.tenant)
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "voxray"} for name in names]}


def _order_from(body: ChatIn) -> StartAnswer:
    *before, last = body.messages
    if last.role != "user":
        raise HTTPException(400, "The last message must come from the user.")
    instructions = "\n".join(message.content for message in before if message.role == "system")
    lines = tuple(Line(Role(message.role), message.content) for message in before if message.role != "system")
    return StartAnswer(0, last.content, lines, instructions, body.max_tokens)
