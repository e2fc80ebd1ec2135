"""A client of the realtime socket that writes its questions and reads the answers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection

PATIENCE_S = 30


async def ask(socket: ClientConnection, text: str) -> str:
    """Write a question and return the whole answer, as text."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await socket.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
    while True:
        event: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        assert event["type"] != "error", event
        if event["type"] == "response.done":
            answer = event["response"]
            assert answer["status"] == "completed", answer
            return str(answer["output"][0]["content"][0]["text"])
