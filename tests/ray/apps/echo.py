"""A gateway that only says back what a client says, in place of the product's own; the pools are the product's."""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from ray import serve

api = FastAPI()


@serve.ingress(api)
class Gateway:
    """Echoes what a client sends, with the number of threads that its process was given."""

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
                await socket.send_text(f"{text}:{os.environ['OMP_NUM_THREADS']}")
        except WebSocketDisconnect:
            return


class Broken:
    """A gateway whose constructor fails."""

    def __init__(self) -> None:
        raise ValueError("no weights for Gateway")

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take what the product's gateway takes."""


def build(args: dict[str, Any]) -> serve.Application:
    """Build the echo application."""
    return serve.deployment(Gateway).bind()  # type: ignore[no-any-return]


def build_broken(args: dict[str, Any]) -> serve.Application:
    """Build an application that cannot start."""
    return serve.deployment(Broken).options(name="Gateway").bind()  # type: ignore[no-any-return]
