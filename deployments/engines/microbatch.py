"""Continuous micro-batching on one worker thread: calls that arrive while a batch runs share the next one.

    submit a ──► [a] runs ─────────────► a answered
    submit b, c ──────┘ wait ──► [b c] run ──► b, c answered

A lone call never waits for others, so batching costs nothing when idle and pays off exactly when calls pile up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from pipelines.errors import Component, EngineError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class MicroBatcher(Generic[Item, Answer]):
    """Runs `compute` on batches of submitted items in one worker thread.

    Args:
        name: the component's name, used in errors and as the thread's name.
        compute: takes 1 to `max_batch` items and returns as many answers, in order; called in the worker thread only.
        max_batch: the most items in a batch.
    """

    def __init__(
        self, name: Component, compute: Callable[[Sequence[Item]], Sequence[Answer]], *, max_batch: int
    ) -> None:
        self._name = name
        self._compute = compute
        self._max_batch = max_batch
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._is_closed = False

    async def submit(self, item: Item) -> Answer:
        """Return the answer for `item`. Cancelling drops the item unless its batch is already running.

        Raises:
            EngineError: `compute` failed or the batcher is closed.
        """
        if self._is_closed:
            raise EngineError(self._name, "closed", retryable=True)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name=f"{self._name}-batches")
        return await future

    async def _run(self) -> None:
        try:
            while batch := self._next_batch():
                await self._run_batch(batch)
        finally:
            self._runner = None

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        batch: list[tuple[Item, asyncio.Future[Answer]]] = []
        while self._waiting and len(batch) < self._max_batch:
            item, future = self._waiting.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def _run_batch(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._executor, self._compute, [item for item, _ in batch])
        except Exception as error:
            failure = error if isinstance(error, EngineError) else None
            for _, future in batch:
                if not future.done():
                    wrapped = failure or EngineError(self._name, type(error).__name__, retryable=False)
                    wrapped.__cause__ = error if failure is None else None
                    future.set_exception(wrapped)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def close(self) -> None:
        """Stop the thread after the current batch; waiting items fail. Does nothing on successive calls."""
        self._is_closed = True
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(EngineError(self._name, "closed", retryable=True))
        self._executor.shutdown(wait=True, cancel_futures=True)
