"""The stepper's thread and inbox, over an engine that counts instead of thinking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.engines.vllm.stepper import EngineStepper

pytestmark = pytest.mark.unit


class CountingEngine:
    """Answers "0 1 2 ..." up to the prompt's number, one a step; -1 is refused, and a step with 13 dies."""

    def __init__(self) -> None:
        self.left: dict[str, Iterator[int]] = {}
        self.aborted: list[str] = []
        self.threads: set[str] = set()

    def add_request(self, request_id: str, prompt: int, sampling: Any) -> None:
        if prompt < 0:
            raise ValueError("too long")
        self.left[request_id] = iter(range(prompt))

    def abort_request(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            del self.left[request_id]
            self.aborted.append(request_id)

    def has_unfinished_requests(self) -> bool:
        return bool(self.left)

    def step(self) -> list[Any]:
        self.threads.add(threading.current_thread().name)
        outputs = []
        for request_id, numbers in list(self.left.items()):
            number = next(numbers)
            if number == 13:
                raise RuntimeError("died")
            is_last = numbers.__length_hint__() == 0  # type: ignore[attr-defined]
            if is_last:
                del self.left[request_id]
            completion = SimpleNamespace(text=f"{number} ", token_ids=[number])
            outputs.append(
                SimpleNamespace(request_id=request_id, outputs=[completion], finished=is_last, prompt_token_ids=[1, 2])
            )
        return outputs


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
def stepper(engine: CountingEngine) -> Iterator[EngineStepper]:
    stepper = EngineStepper(lambda: engine)
    yield stepper
    stepper.close()
    stepper.close()
    assert not stepper.is_alive


async def text_of(stepper: EngineStepper, request_id: str, count: int) -> str:
    return "".join([delta.text async for delta in stepper.stream(request_id, count, None)])


async def test_requests_at_once_get_their_own_deltas(stepper: EngineStepper, engine: CountingEngine) -> None:
    texts = await asyncio.gather(text_of(stepper, "a", 3), text_of(stepper, "b", 5))
    assert texts == ["0 1 2 ", "0 1 2 3 4 "]
    assert engine.threads == {"vllm-stepper"}


async def test_last_delta_carries_the_counts(stepper: EngineStepper) -> None:
    deltas = [delta async for delta in stepper.stream("a", 4, None)]
    assert [delta.is_last for delta in deltas] == [False, False, False, True]
    assert (deltas[-1].tokens, deltas[-1].prompt_tokens) == (4, 2)


async def test_closing_the_iterator_aborts_the_request(stepper: EngineStepper, engine: CountingEngine) -> None:
    async with aclosing(stepper.stream("long", 12, None)) as deltas:  # type: ignore[type-var]
        await anext(deltas)
    await text_of(stepper, "after", 2)
    assert not engine.left
    assert set(engine.aborted) <= {"long"}


async def test_refused_request_fails_alone(stepper: EngineStepper) -> None:
    with pytest.raises(ValueError, match="too long"):
        await text_of(stepper, "bad", -1)
    assert stepper.is_alive
    assert await text_of(stepper, "good", 1) == "0 "


async def test_dead_engine_fails_every_stream_and_later_ones(stepper: EngineStepper) -> None:
    results = await asyncio.gather(text_of(stepper, "a", 20), text_of(stepper, "b", 20), return_exceptions=True)
    assert all(isinstance(result, RuntimeError) for result in results)
    with pytest.raises(RuntimeError):
        await text_of(stepper, "late", 1)


def test_engine_that_cannot_be_built_raises_its_reason() -> None:
    def fail() -> Any:
        raise OSError("no weights")

    with pytest.raises(OSError, match="no weights"):
        EngineStepper(fail)
