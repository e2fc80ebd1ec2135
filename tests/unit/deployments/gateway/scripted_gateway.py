"""A gateway's application with scripted engines, spoken to without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from cluster.config.parts import GatewayPart
from cluster.config.paths import SAMPLE_AGENTS
from cluster.config.schema import GatewaySettings
from deployments.engines.scripted.language_model import ScriptedLanguageModel
from deployments.engines.scripted.recognizer import ScriptedRecognizer
from deployments.engines.scripted.retriever import ScriptedRetriever
from deployments.engines.scripted.synthesizer import ScriptedSynthesizer
from deployments.gateway.access import Access
from deployments.gateway.asgi import create_app
from deployments.gateway.local import EnginesHere, scripted, service_with_engines
from deployments.gateway.service import GatewayService
from pipelines.errors import Component
from pipelines.ports import Passage

ANSWER = "You can return unused items within 30 days of delivery."
PASSAGE = Passage(ANSWER, "faq/returns.md", "Returns", 1.0, 0.9, 1.0)
HEARD = "How many days do I have to return an item?"
KEY = "right"
BEARER = {"Authorization": f"Bearer {KEY}"}


def gateway_part(**changes: Any) -> GatewayPart:
    """Return a part with scripted detectors and the sample agents; `changes` are of its gateway's settings."""
    detectors = {
        "speech_detector": scripted(Component.SPEECH_DETECTOR),
        "turn_detector": scripted(Component.TURN_DETECTOR),
    }
    gateway = GatewaySettings(**{**detectors, **changes})
    return GatewayPart(gateway=gateway, longest_call_s=3600, agents_folder=str(SAMPLE_AGENTS))


@dataclass(slots=True)
class ScriptedGateway:
    """The application, what it serves with, and a client that shows the key."""

    app: FastAPI
    service: GatewayService
    client: httpx.AsyncClient
    recognizer: ScriptedRecognizer
    retriever: ScriptedRetriever
    language_model: ScriptedLanguageModel
    synthesizer: ScriptedSynthesizer


@asynccontextmanager
async def scripted_gateway(**changes: Any) -> AsyncIterator[ScriptedGateway]:
    """Open a gateway; `changes` are of its settings."""
    recognizer, retriever = ScriptedRecognizer(HEARD), ScriptedRetriever([PASSAGE])
    model, synthesizer = ScriptedLanguageModel(fallback=lambda _messages: ANSWER), ScriptedSynthesizer()
    connect = EnginesHere(gateway_part(**changes), recognizer, retriever, model, synthesizer)
    opening = service_with_engines(connect, Access(KEY, "VOXRAY_API_KEY"))
    app = create_app(lambda: opening)
    # Without the application's lifespan, which would set the garbage collector of the tests' process.
    async with opening as service, client_of(app, BEARER) as client:
        app.state.service = service
        yield ScriptedGateway(app, service, client, recognizer, retriever, model, synthesizer)


def client_of(app: FastAPI, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """Return a client of an application in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers)


@dataclass(slots=True)
class Dialled:
    """A WebSocket that was opened on an application, as ASGI messages; closed when the application ends it."""

    task: asyncio.Task[None]
    to_app: asyncio.Queue[dict[str, Any]]
    from_app: asyncio.Queue[dict[str, Any]]

    async def next_message(self) -> dict[str, Any]:
        """Return what the application sends next."""
        return await asyncio.wait_for(self.from_app.get(), 30)

    async def until_accepted(self) -> None:
        """Return when the application has taken the call."""
        assert (await self.next_message())["type"] == "websocket.accept"

    async def until(self, event_type: str) -> dict[str, Any]:
        """Return the next event of a type."""
        while True:
            event: dict[str, Any] = json.loads((await self.next_message())["text"])
            if event["type"] == event_type:
                return event

    async def say(self, event: dict[str, Any]) -> None:
        """Send an event."""
        await self.to_app.put({"type": "websocket.receive", "text": json.dumps(event)})

    async def hang_up(self) -> None:
        """Close the socket, and wait until the application is done with it."""
        await self.to_app.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, 30)


def dial(
    app: FastAPI, query: str = "", *, headers: dict[str, str] | None = None, subprotocols: tuple[str, ...] = ()
) -> Dialled:
    """Open `/v1/realtime` as a client would; who does not care shows the key."""
    shown = BEARER if headers is None else headers
    scope = {
        "type": "websocket",
        "path": "/v1/realtime",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in shown.items()],
        "subprotocols": list(subprotocols),
        "extensions": {"websocket.http.response": {}},
        "client": ("127.0.0.1", 1),
        "server": ("gateway", 80),
        "scheme": "ws",
    }
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    to_app.put_nowait({"type": "websocket.connect"})
    task = asyncio.create_task(app(scope, to_app.get, from_app.put))  # type: ignore[arg-type]
    return Dialled(task, to_app, from_app)
