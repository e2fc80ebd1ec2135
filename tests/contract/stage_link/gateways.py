"""A gateway's end of the stage link, as tests use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np

from deployments.stage_link.frames import LinkAddress
from deployments.stage_link.keeper import Found, LinkKeeper
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkPatience

FRAME_BYTES = 640  # 20 ms


def loud_pcm(duration_ms: int, seed: int = 1) -> bytes:
    """Return noise in which a scripted recogniser hears words: others for each seed."""
    samples = np.random.default_rng(seed).normal(scale=4000, size=duration_ms * 16)
    return bytes(samples.clip(-32_000, 32_000).astype("<i2").tobytes())


class Gateway:
    """A transcriber with links to the recognisers in `addresses`, which a test changes as it likes."""

    def __init__(self, addresses: list[LinkAddress], patience: LinkPatience | None = None) -> None:
        self.addresses = addresses
        self.transcriber = LinkedTranscriber(patience or LinkPatience())
        self._keeper = LinkKeeper(self.transcriber, self._find)

    async def _find(self) -> Found:
        return Found(list(self.addresses))

    async def until(self, is_so: Callable[[LinkedTranscriber], bool]) -> None:
        """Wait for something that other threads or processes do."""
        while not is_so(self.transcriber):  # noqa: ASYNC110  other processes give no event to wait for
            await asyncio.sleep(0.005)  # noqa: TID251  the same

    def start(self) -> None:
        self._keeper.start()

    async def aclose(self) -> None:
        await self._keeper.aclose()


@asynccontextmanager
async def gateway(*addresses: LinkAddress, patience: LinkPatience | None = None) -> AsyncIterator[Gateway]:
    """A gateway that is linked to all of these recognisers."""
    opened = Gateway(list(addresses), patience)
    opened.start()
    try:
        await opened.until(lambda transcriber: transcriber.gauges()["replicas"] == len(addresses))
        yield opened
    finally:
        await opened.aclose()
