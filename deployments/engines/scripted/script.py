"""Defines how slow and how unreliable a scripted engine is."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from pipelines.errors import EngineError


@dataclass(slots=True)
class Script:
    """How a scripted engine behaves.

    Attributes:
        delay_s: wait before each answer.
        failures: errors to raise, one per call and before anything is answered, until none is left.
    """

    delay_s: float = 0.0
    failures: deque[EngineError] = field(default_factory=deque)

    async def act(self) -> None:
        """Wait, then raise the next failure if any is left."""
        await asyncio.sleep(self.delay_s)  # noqa: TID251 (the scripted latency itself)
        if self.failures:
            raise self.failures.popleft()
