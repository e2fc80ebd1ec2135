"""Runs vLLM in this process, stepped by one thread.

`LLMEngine` is not thread-safe, so the thread owns it. The event loop leaves commands in an inbox; the thread applies
them between two steps and returns outputs with `call_soon_threadsafe`:

    loop:    add r1 ──┐           abort r1 ──┐            ◄── delta r1, delta r2
    thread:           [ step ][ step ][ step ] apply [ step ] ...   sleeps when nothing is unfinished
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from deployments.engines.owned_thread import OwnedThread
from deployments.engines.vllm.load import VllmLoad


@dataclass(frozen=True, slots=True)
class Delta:
    """New text of one request and its counts so far."""

    text: str
    tokens: int
    prompt_tokens: int
    is_last: bool


@dataclass(slots=True, eq=False)
class _Stream:
    loop: asyncio.AbstractEventLoop
    outputs: asyncio.Queue[Delta | Exception] = field(default_factory=asyncio.Queue)
    tokens: int = 0


class EngineStepper:
    """Owns an `LLMEngine` and its thread.

    Args:
        make_engine: builds the engine. It is called in the thread, which then owns the engine's memory and OpenMP
            workers.
        load: figures written by the engine's logger, and told by this class when nothing is left to compute.

    Raises:
        Exception: whatever `make_engine` raised.
    """

    def __init__(self, make_engine: Callable[[], Any], load: VllmLoad | None = None) -> None:
        self._load = load or VllmLoad()
        self._make_engine = make_engine
        self._streams: dict[str, _Stream] = {}
        self._thread = OwnedThread("vllm-stepper", set_up=self._set_up, turn=self._step_or_sleep, end=self._end_all)
        self._thread.start()

    async def stream(self, request_id: str, prompt: Any, sampling: Any) -> AsyncIterator[Delta]:
        """Yield deltas until `is_last`. Closing the iterator aborts the request before the next step.

        Raises:
            Exception: the engine refused the request or died; `is_alive` tells which.
        """
        stream = _Stream(asyncio.get_running_loop())
        is_over = False
        self._post(lambda: self._add(request_id, stream, prompt, sampling))
        try:
            while not is_over:
                output = await stream.outputs.get()
                is_over = isinstance(output, Exception) or output.is_last
                if isinstance(output, Exception):
                    raise output
                yield output
        finally:
            if not is_over:
                self._post(lambda: self._abort(request_id))

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive

    def load_stats(self) -> dict[str, float]:
        return self._load.stats()

    def close(self) -> None:
        """Stop the thread after the current step; streams in progress fail. Does nothing on successive calls."""
        self._thread.stop()

    def _post(self, command: Callable[[], None]) -> None:
        if not self._thread.post(command):
            raise self._thread.failure or RuntimeError("the engine is stopped")

    def _set_up(self) -> None:
        self._engine = self._make_engine()

    def _step_or_sleep(self) -> None:
        if not self._engine.has_unfinished_requests():
            self._load.note_idle()
            self._thread.sleep()
            return
        for output in self._engine.step():
            if (stream := self._streams.get(output.request_id)) is not None:
                self._hand_back(output, stream)

    def _add(self, request_id: str, stream: _Stream, prompt: Any, sampling: Any) -> None:
        if request_id in self._streams:
            _deliver(stream, ValueError(f"request {request_id} is already running"))
            return
        try:
            self._engine.add_request(request_id, prompt, sampling)
        except Exception as error:  # the request's fault (such as too long a prompt), not the engine's
            _deliver(stream, error)
            return
        self._streams[request_id] = stream

    def _abort(self, request_id: str) -> None:
        if self._streams.pop(request_id, None) is not None:
            self._engine.abort_request([request_id])

    def _hand_back(self, output: Any, stream: _Stream) -> None:
        completion = output.outputs[0]
        stream.tokens += len(completion.token_ids)
        if output.finished:
            del self._streams[output.request_id]
        prompt_tokens = len(output.prompt_token_ids or ())
        _deliver(stream, Delta(completion.text, stream.tokens, prompt_tokens, bool(output.finished)))

    def _end_all(self) -> None:
        error = self._thread.failure or RuntimeError("the engine was closed")
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            _deliver(stream, error)


def _deliver(stream: _Stream, output: Delta | Exception) -> None:
    if not stream.loop.is_closed():
        stream.loop.call_soon_threadsafe(stream.outputs.put_nowait, output)
