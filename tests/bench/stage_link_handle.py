"""The other way for the stage link: Serve handles. Commands by unary calls, results by one streaming call.

A handle has no streaming input, so each message of commands is a call of its own. Calls of one stream must stay in
order, so the next one waits until the one before has been answered; what comes meanwhile goes with it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from deployments.stage_link.messages import pack_commands, pack_results, unpack_answer, unpack_commands
from pipelines.hearing.link import RecognizerLink, StreamCommand, StreamResult
from tests.bench.link_load import NotingRecognizer, SpeakingCalls, transcriber

ROOT = Path(__file__).resolve().parents[2]


class Ear:
    """The recogniser's replica."""

    def __init__(self, one_each: bool) -> None:
        self._recognizer = NotingRecognizer(one_each=one_each)
        self._link: RecognizerLink | None = None

    async def results(self) -> AsyncIterator[bytes]:
        """Open the link; stream its messages."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[list[StreamResult]]()
        self._link = self._recognizer.open_link(
            lambda found: loop.call_soon_threadsafe(queue.put_nowait, found) and None
        )
        yield pack_results([])
        while True:
            yield pack_results(await queue.get())

    async def send(self, payload: bytes) -> None:
        assert self._link is not None
        self._link.send(unpack_commands(payload))

    async def figures(self) -> tuple[float, list[float]]:
        times = psutil.Process().cpu_times()
        return times.user + times.system, self._recognizer.take_arrivals_ms()


class HandleLink:
    """`RecognizerLink` over a handle."""

    def __init__(self, handle: Any, *, one_each: bool) -> None:
        self._handle, self._one_each = handle, one_each
        self._waiting: dict[int, deque[StreamCommand]] = defaultdict(deque)
        self._senders: dict[int, asyncio.Task[None]] = {}

    def send(self, commands: Sequence[StreamCommand]) -> None:
        for command in commands:
            queue = command.stream if self._one_each else 0
            self._waiting[queue].append(command)
            if queue not in self._senders:
                self._senders[queue] = asyncio.create_task(self._drain(queue))

    async def _drain(self, queue: int) -> None:
        waiting = self._waiting[queue]
        while waiting:
            commands = list(waiting)
            waiting.clear()
            await self._handle.send.remote(pack_commands(commands))
        del self._senders[queue]

    def close(self) -> None:
        """The bench ends with its cluster."""


class Mouth:
    """The gateway's replica."""

    def __init__(self, ear: Any) -> None:
        self._ear = ear.options(_by_reference=False)

    async def run(self, tick_ms: int, calls: int, seconds: float) -> dict[str, Any]:
        alone = SpeakingCalls(lambda _on_partial: None, calls)
        await alone.speak(seconds)
        linked = transcriber(tick_ms)
        answers = self._ear.options(stream=True).results.remote().__aiter__()
        await answers.__anext__()
        linked.join("ear", HandleLink(self._ear, one_each=tick_ms == 0), streams=0, slots=10_000)
        listening = asyncio.create_task(self._listen(answers, linked))
        speaking = SpeakingCalls(lambda on_partial: linked.open(on_partial), calls)
        await asyncio.sleep(0.5)
        before, _ = await self._ear.figures.remote()
        began_s = time.monotonic()
        await speaking.speak(seconds)
        took_s = time.monotonic() - began_s
        after, arrivals = await self._ear.figures.remote()
        listening.cancel()
        cpu = (after - before) / took_s
        return {"base": alone.figures.cpu, "figures": speaking.figures, "cpu": cpu, "arrivals": arrivals}

    async def _listen(self, answers: Any, linked: Any) -> None:
        async for payload in answers:
            linked.deliver("ear", unpack_answer(payload))


class HandleBench:
    """A Ray cluster of its own for as long as the context is open."""

    def __enter__(self) -> HandleBench:
        # Both switches as in the product's clusters; they must be set before Ray is imported.
        os.environ |= {"RAY_SERVE_USE_GRPC_BY_DEFAULT": "1", "RAY_ENABLE_AUTO_CONNECT": "0", "PYTHONPATH": str(ROOT)}
        import ray
        from ray import serve

        ray.init("local", num_cpus=8, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
        serve.start(proxy_location="Disabled")
        return self

    def run(self, name: str, tick_ms: int, *, calls: int, seconds: float) -> Any:
        """Measure one variant; returns a row."""
        from ray import serve

        from tests.bench.stage_link import row_of

        options = {"max_ongoing_requests": 1000, "ray_actor_options": {"num_cpus": 1}}
        ear = serve.deployment(name="Ear", **options)(Ear).bind(tick_ms == 0)
        handle = serve.run(serve.deployment(name="Mouth", **options)(Mouth).bind(ear), route_prefix=None)
        told = handle.run.remote(tick_ms, calls, seconds).result(timeout_s=120)
        frames = int(calls * seconds * 50)
        return row_of(name, told["figures"], told["base"], told["cpu"], told["arrivals"], frames=frames)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        import ray

        ray.shutdown()
