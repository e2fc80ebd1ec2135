"""vLLM in this process, stepped by one thread.

`LLMEngine` is not thread-safe, so the thread owns it. The event loop leaves commands in an inbox; the thread applies
them between two steps and hands outputs back with `call_soon_threadsafe`:

    loop:    add r1 ──┐           abort r1 ──┐            ◄── delta r1, delta r2
    thread:           [ step ][ step ][ step ] apply [ step ] ...   sleeps when nothing is unfinished
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from deployments.engines.vllm.load import VllmLoad

_STOP_WAIT_S = 30.0


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
        make_engine: builds the engine; called in the thread, where all of its memory and OpenMP workers then belong.
        load: what the engine's logger writes; told here when nothing is left to compute.

    Raises:
        Exception: whatever `make_engine` raised.
    """

    def __init__(self, make_engine: Callable[[], Any], load: VllmLoad | None = None) -> None:
        self._load = load or VllmLoad()
        self._inbox: deque[Callable[[Any], None]] = deque()
        self._streams: dict[str, _Stream] = {}
        self._wake = threading.Event()
        self._is_stopping = False
        self._is_ready = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(make_engine,), name="vllm-stepper", daemon=True)
        self._thread.start()
        self._is_ready.wait()
        if self._failure is not None:
            raise self._failure

    async def stream(self, request_id: str, prompt: Any, sampling: Any) -> AsyncIterator[Delta]:
        """Yield deltas until `is_last`. Closing the iterator aborts the request before the next step.

        Raises:
            Exception: the engine refused the request, or died; `is_alive` tells which.
        """
        stream = _Stream(asyncio.get_running_loop())
        is_over = False
        self._post(lambda engine: self._add(engine, request_id, stream, prompt, sampling))
        try:
            while not is_over:
                output = await stream.outputs.get()
                is_over = isinstance(output, Exception) or output.is_last
                if isinstance(output, Exception):
                    raise output
                yield output
        finally:
            if not is_over:
                self._post(lambda engine: self._abort(engine, request_id))

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and self._failure is None

    def load_stats(self) -> dict[str, float]:
        return self._load.stats()

    def close(self) -> None:
        """Stop the thread after the step that runs; streams in progress fail. Does nothing on successive calls."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join(_STOP_WAIT_S)

    def _post(self, command: Callable[[Any], None]) -> None:
        if not self.is_alive:
            raise self._failure or RuntimeError("the engine is stopped")
        self._inbox.append(command)
        self._wake.set()

    def _run(self, make_engine: Callable[[], Any]) -> None:
        try:
            engine = make_engine()
        except Exception as error:
            self._failure = error
            self._is_ready.set()
            return
        self._is_ready.set()
        try:
            while not self._is_stopping:
                self._turn(engine)
        except Exception as error:  # a step that fails leaves the engine in an unknown state: it is over
            self._failure = error
        self._end_all(self._failure or RuntimeError("the engine was closed"))

    def _turn(self, engine: Any) -> None:
        while self._inbox:
            self._inbox.popleft()(engine)
        if not engine.has_unfinished_requests():
            self._load.note_idle()
            self._wake.wait()
            self._wake.clear()
            return
        for output in engine.step():
            if (stream := self._streams.get(output.request_id)) is not None:
                self._hand_back(output, stream)

    def _add(self, engine: Any, request_id: str, stream: _Stream, prompt: Any, sampling: Any) -> None:
        if request_id in self._streams:
            _deliver(stream, ValueError(f"request {request_id} is already running"))
            return
        try:
            engine.add_request(request_id, prompt, sampling)
        except Exception as error:  # the request's fault (too long a prompt), not the engine's
            _deliver(stream, error)
            return
        self._streams[request_id] = stream

    def _abort(self, engine: Any, request_id: str) -> None:
        if self._streams.pop(request_id, None) is not None:
            engine.abort_request([request_id])

    def _hand_back(self, output: Any, stream: _Stream) -> None:
        completion = output.outputs[0]
        stream.tokens += len(completion.token_ids)
        if output.finished:
            del self._streams[output.request_id]
        prompt_tokens = len(output.prompt_token_ids or ())
        _deliver(stream, Delta(completion.text, stream.tokens, prompt_tokens, bool(output.finished)))

    def _end_all(self, error: Exception) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            _deliver(stream, error)


def _deliver(stream: _Stream, output: Delta | Exception) -> None:
    if not stream.loop.is_closed():
        stream.loop.call_soon_threadsafe(stream.outputs.put_nowait, output)
