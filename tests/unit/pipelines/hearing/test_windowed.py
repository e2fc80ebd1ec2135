from __future__ import annotations

import asyncio

import pytest

from pipelines.errors import EngineError
from pipelines.hearing.windowed import Recognition, WindowedStream, WindowedTranscriber
from pipelines.ports import Hypothesis

pytestmark = pytest.mark.unit

MS = 32  # bytes


async def turn_of_the_loop() -> None:
    """Let everything run that is ready now."""
    turned = asyncio.Event()
    asyncio.get_running_loop().call_soon(turned.set)
    await turned.wait()


class HeldRecognizer:
    """Answers each recognition when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, asyncio.Future[Recognition]]] = []
        self.started = asyncio.Event()

    async def recognize(self, pcm: bytes) -> Recognition:
        future: asyncio.Future[Recognition] = asyncio.get_running_loop().create_future()
        self.calls.append((len(pcm) // MS, future))
        self.started.set()
        return await future

    async def answer(self, text: str | Exception) -> None:
        """Wait for a recognition, answer the newest, and let the stream see it."""
        await self.started.wait()
        self.started.clear()
        if isinstance(text, Exception):
            self.calls[-1][1].set_exception(text)
        else:
            self.calls[-1][1].set_result(Recognition(text))
        for _ in range(6):
            await turn_of_the_loop()


@pytest.fixture
def recognizer() -> HeldRecognizer:
    return HeldRecognizer()


@pytest.fixture
def partials() -> list[Hypothesis]:
    return []


@pytest.fixture
def stream(recognizer: HeldRecognizer, partials: list[Hypothesis]) -> WindowedStream:
    return WindowedTranscriber(recognizer.recognize, partial_interval_ms=500).open(partials.append)


async def test_words_on_which_two_hypotheses_agree_are_stable(
    stream: WindowedStream, recognizer: HeldRecognizer, partials: list[Hypothesis]
) -> None:
    stream.push(bytes(500 * MS))
    await recognizer.answer("What is you")
    stream.push(bytes(500 * MS))
    await recognizer.answer("What is your return.")
    stream.push(bytes(500 * MS))
    await recognizer.answer("what is your return policy")
    assert [partial.text[: partial.stable_chars] for partial in partials] == ["", "What is", "what is your return"]
    assert [partial.audio_ms for partial in partials] == [500, 1000, 1500]


async def test_no_partial_starts_before_its_interval_or_beside_another(
    stream: WindowedStream, recognizer: HeldRecognizer
) -> None:
    stream.push(bytes(499 * MS))
    assert recognizer.calls == []
    stream.push(bytes(1 * MS))
    await recognizer.started.wait()
    stream.push(bytes(3000 * MS))
    assert [ms for ms, _ in recognizer.calls] == [500]
    await recognizer.answer("a")
    assert [ms for ms, _ in recognizer.calls] == [500, 3500]


async def test_partial_in_flight_that_covers_all_audio_is_the_final_one(
    stream: WindowedStream, recognizer: HeldRecognizer
) -> None:
    stream.push(bytes(500 * MS))
    final = asyncio.create_task(stream.finalize())
    await recognizer.answer("all of it")
    assert await final == Hypothesis("all of it", 9, 500)
    assert len(recognizer.calls) == 1


async def test_finalize_does_not_wait_for_a_partial_that_covers_less(
    stream: WindowedStream, recognizer: HeldRecognizer, partials: list[Hypothesis]
) -> None:
    stream.push(bytes(500 * MS))
    await recognizer.started.wait()
    recognizer.started.clear()
    stream.push(bytes(100 * MS))
    final = asyncio.create_task(stream.finalize())
    await recognizer.answer("all of it")
    assert (await final).audio_ms == 600
    assert recognizer.calls[0][1].cancelled()
    assert partials == []


async def test_finalize_again_without_new_audio_costs_nothing(
    stream: WindowedStream, recognizer: HeldRecognizer
) -> None:
    stream.push(bytes(100 * MS))
    final = asyncio.create_task(stream.finalize())
    await recognizer.answer("yes")
    assert await final == await stream.finalize()
    assert len(recognizer.calls) == 1


async def test_no_partial_starts_while_finalize_waits(stream: WindowedStream, recognizer: HeldRecognizer) -> None:
    stream.push(bytes(100 * MS))
    final = asyncio.create_task(stream.finalize())
    await recognizer.started.wait()
    stream.push(bytes(2000 * MS))
    assert len(recognizer.calls) == 1
    await recognizer.answer("yes")
    assert (await final).audio_ms == 100
    assert recognizer.calls[-1][0] == 2100


async def test_retryable_failure_is_tried_once_more(stream: WindowedStream, recognizer: HeldRecognizer) -> None:
    stream.push(bytes(100 * MS))
    final = asyncio.create_task(stream.finalize())
    await recognizer.answer(EngineError("transcriber", "died", retryable=True))
    await recognizer.answer("yes")
    assert (await final).text == "yes"


async def test_failure_that_no_retry_can_help_is_raised_at_once(
    stream: WindowedStream, recognizer: HeldRecognizer
) -> None:
    stream.push(bytes(100 * MS))
    final = asyncio.create_task(stream.finalize())
    await recognizer.answer(EngineError("transcriber", "bad model", retryable=False))
    with pytest.raises(EngineError):
        await final
    assert len(recognizer.calls) == 1


async def test_failed_partial_is_only_a_missed_preview(
    stream: WindowedStream, recognizer: HeldRecognizer, partials: list[Hypothesis]
) -> None:
    stream.push(bytes(500 * MS))
    await recognizer.answer(EngineError("transcriber", "bad", retryable=False))
    final = asyncio.create_task(stream.finalize())
    await recognizer.answer("yes")
    assert (await final).text == "yes"
    assert partials == []


async def test_cancelled_finalize_leaves_the_stream_usable(stream: WindowedStream, recognizer: HeldRecognizer) -> None:
    stream.push(bytes(100 * MS))
    first = asyncio.create_task(stream.finalize())
    await recognizer.started.wait()
    first.cancel()
    second = asyncio.create_task(stream.finalize())
    await recognizer.answer("yes")
    assert (await second).text == "yes"


async def test_closing_cancels_a_finalize_and_refuses_the_next(
    stream: WindowedStream, recognizer: HeldRecognizer
) -> None:
    stream.push(bytes(100 * MS))
    final = asyncio.create_task(stream.finalize())
    await recognizer.started.wait()
    await stream.aclose()
    await stream.aclose()
    assert isinstance((await asyncio.gather(final, return_exceptions=True))[0], asyncio.CancelledError)
    with pytest.raises(EngineError):
        await stream.finalize()
