"""A small Serve application with the product's deployment names: a WebSocket echo with a child deployment."""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from ray import serve
from ray.serve.handle import DeploymentHandle

api = FastAPI()


class Stage:
    """A stage of the pipeline that says its name back."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def answer(self, text: str) -> str:
        return f"{self._name}:{text}:{os.environ['OMP_NUM_THREADS']}"


class Broken:
    """A stage whose constructor fails."""

    def __init__(self, name: str) -> None:
        raise ValueError(f"no weights for {name}")


@serve.ingress(api)
class Gateway:
    """Echoes what a client sends, by way of the other deployments."""

    def __init__(self, stages: list[DeploymentHandle]) -> None:
        self._stages = stages

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take what the product's gateway takes; nothing here depends on it."""

    @api.get("/healthz")
    async def health(self) -> dict[str, str]:
        return {"status": "ok"}

    @api.websocket("/v1/realtime")
    async def echo(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                text = await socket.receive_text()
                answers = [await stage.answer.remote(text) for stage in self._stages]
                await socket.send_text(" ".join(answers))
        except WebSocketDisconnect:
            return


STAGES = ("Transcriber", "Retriever", "LanguageModel", "Synthesizer")


def build(args: dict[str, Any]) -> serve.Application:
    """Build the echo application."""
    stages = [serve.deployment(Stage).options(name=name).bind(name) for name in STAGES]
    return serve.deployment(Gateway).bind(stages)  # type: ignore[no-any-return]


def build_broken(args: dict[str, Any]) -> serve.Application:
    """Build the same, with a stage that cannot start."""
    classes = {name: Broken if name == "Retriever" else Stage for name in STAGES}
    stages = [serve.deployment(kind).options(name=name).bind(name) for name, kind in classes.items()]
    return serve.deployment(Gateway).bind(stages)  # type: ignore[no-any-return]
