"""Ways to ask an evaluation question: of the running cluster (written or spoken), or of engines in a child process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx

from cluster.programs import Program
from pipelines.answering.evaluation import Ask
from pipelines.errors import Component, EngineError

_TIMEOUT_S = 60.0


@asynccontextmanager
async def ask_over_http(http_url: str, api_key: str = "", *, is_spoken: bool = False) -> AsyncIterator[Ask]:
    """Provide an `ask` that posts to the cluster's REST API. Spoken questions pass through voice and recogniser first.

    The `ask` raises EngineError when the cluster refuses or cannot be reached.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    async with httpx.AsyncClient(base_url=http_url, headers=headers, timeout=_TIMEOUT_S, trust_env=False) as client:

        async def ask(question: str) -> str:
            try:
                heard = await _heard(client, question) if is_spoken else question
                messages = [{"role": "user", "content": heard}]
                reply = await client.post("/v1/chat/completions", json={"messages": messages})
                reply.raise_for_status()
            except httpx.HTTPError as error:
                raise EngineError(
                    Component.GATEWAY, f"the question could not be asked: {error}", retryable=True
                ) from error
            return str(reply.json()["choices"][0]["message"]["content"])

        yield ask


async def _heard(client: httpx.AsyncClient, question: str) -> str:
    """Return what the recogniser understands when the synthesizer says `question`."""
    sound = await client.post("/v1/audio/speech", json={"input": question, "response_format": "wav"})
    sound.raise_for_status()
    text = await client.post("/v1/audio/transcriptions", files={"file": ("question.wav", sound.content, "audio/wav")})
    text.raise_for_status()
    return str(text.json()["text"])


@asynccontextmanager
async def ask_in_child(arguments: Sequence[str]) -> AsyncIterator[Ask]:
    """Provide an `ask` served by a child process with one JSON line each way. The child ends with the context.

    The `ask` raises EngineError when the child has ended.
    """
    child = await asyncio.create_subprocess_exec(
        *Program.ANSWER_LOCALLY.command(*arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    stdin, stdout = child.stdin, child.stdout

    async def ask(question: str) -> str:
        stdin.write(json.dumps({"question": question}).encode() + b"\n")
        while line := await stdout.readline():
            if line.startswith(b'{"answer"'):
                return str(json.loads(line)["answer"])
        raise EngineError(
            Component.EVALUATION, "the engines' process has ended; see its messages above", retryable=False
        )

    try:
        yield ask
    finally:
        stdin.close()
        try:
            await asyncio.wait_for(child.wait(), timeout=20)
        except TimeoutError:
            child.kill()
            await child.wait()
