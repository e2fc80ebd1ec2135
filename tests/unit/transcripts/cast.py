"""Scripted doubles whose every sample is an integer, so that transcripts are the same on any processor.

The caller's voice is a square wave, and its level says which text is spoken: a recogniser hears a word of that text for
every `MS_PER_WORD` of loud audio. The agent's voice is a square wave too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tests.unit.transcripts.product import (
    EngineError,
    Heard,
    LinkedTranscriber,
    LinkPatience,
    Passage,
    Recognition,
    ScheduleLimits,
    Script,
    ScriptedRetriever,
    SlotAudio,
    SpeechChunk,
    SpeechRequest,
    StreamCommand,
    StreamResult,
    StreamSchedule,
    StreamTicks,
    WordTime,
)

MS_PER_WORD = 240
_LOUD = 500
_CHUNK_MS = 160
_BYTES_PER_MS_16K = 32
_SAMPLES_PER_MS_24K = 24
_PERIOD_SAMPLES = 96  # 250 Hz at 24 kHz

# One text a level; levels are far enough apart to be told from each other after resampling and companding.
LINES: dict[int, str] = {
    1500: "how many days do I have to return an item",
    3000: "how much is standard shipping",
    6000: "is it free for members",
    12000: "who won the football game last night",
    24000: "thank you goodbye",
}
RETURNS, SHIPPING, FOLLOW_UP, OFF_TOPIC, GOODBYE = LINES

RETURNS_TEXT = "You can return unused items within 30 days of delivery. Refunds go back to the card that paid."
SHIPPING_TEXT = "Standard shipping costs $6. Members of the trail club ship for free."
PASSAGES = {
    "football": (Passage("The Duluth store sells sleds.", "faq/stores.md", "Stores", 0.2, 0.05, 0.0),),
    "return": (Passage(RETURNS_TEXT, "faq/returns.md", "Returns", 1.0, 0.9, 1.0, "2026-01-31"),),
    "shipping": (
        Passage(SHIPPING_TEXT, "faq/shipping.md", "Shipping", 1.0, 0.8, 1.0),
        Passage(RETURNS_TEXT, "faq/returns.md", "Returns", 0.4, 0.4, 0.1),
    ),
}


def square_wave(level: int, samples: int, *, start: int = 0) -> bytes:
    """Return PCM16 of a square wave of 96 samples a period."""
    index = np.arange(start, start + samples) % _PERIOD_SAMPLES
    return np.where(index < _PERIOD_SAMPLES // 2, level, -level).astype("<i2").tobytes()


def words_in(pcm_16k: bytes) -> list[str]:
    """Return what was said in whole-utterance audio: the words whose time is over, of the line of its level."""
    loud = _loud_samples(pcm_16k)
    if not loud.size:
        return []
    level = float(np.median(loud))
    line = min(LINES, key=lambda known: abs(math.log(level / known)))
    return LINES[line].split()[: round(loud.size / 16 / MS_PER_WORD)]


def _loud_samples(pcm_16k: bytes) -> NDArray[np.int32]:
    samples = np.abs(np.frombuffer(pcm_16k, "<i2").astype(np.int32))
    return samples[samples >= _LOUD]


def sentence(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text[:1].upper() + text[1:]


class LevelRecognizer:
    """A recogniser of whole utterances."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script(delay_s=0.08)

    async def recognize(self, pcm_16k: bytes) -> Recognition:
        await self.script.act()
        return Recognition(sentence(words_in(pcm_16k)))


class LevelStepper:
    """A streaming recogniser's model; hears a stream as `LevelRecognizer` hears an utterance, chunk by chunk."""

    def __init__(self, *, end_silent_chunks: int = 0) -> None:
        self.first_bytes = self.chunk_bytes = _CHUNK_MS * _BYTES_PER_MS_16K
        self.slots = self.max_batch = 8
        self._end_silent_chunks = end_silent_chunks
        self._audio: dict[int, bytearray] = {}
        self._silent: dict[int, int] = {}

    def warm_up(self) -> Mapping[int, float]:
        return {}

    def open(self, slot: int, tenant: str) -> None:
        self._audio[slot], self._silent[slot] = bytearray(), 0

    def step(self, chunks: Sequence[SlotAudio]) -> list[Heard]:
        return [self._step(chunk) for chunk in chunks]

    def _step(self, chunk: SlotAudio) -> Heard:
        audio = self._audio[chunk.slot]
        audio += chunk.pcm_16k
        words = words_in(bytes(audio))
        is_silent = bool(words) and not _loud_samples(chunk.pcm_16k).size
        self._silent[chunk.slot] = self._silent[chunk.slot] + 1 if is_silent else 0
        ends = is_silent and self._silent[chunk.slot] == self._end_silent_chunks
        return Heard(" ".join(words), len(" ".join(words[:-1])), ends_utterance=ends)

    def finish(self, rests: Sequence[SlotAudio]) -> list[Heard]:
        heard = [" ".join(words_in(bytes(self._audio[rest.slot]) + rest.pcm_16k)) for rest in rests]
        return [Heard(text, len(text)) for text in heard]

    def free(self, slot: int) -> None:
        self._audio.pop(slot, None)

    def close(self) -> None:
        self._audio.clear()


class InlineLink:
    """A link to a recogniser whose ticks run on the event loop itself, with the product's own schedule."""

    def __init__(self, stepper: LevelStepper, on_results: Callable[[list[StreamResult]], None]) -> None:
        limits = ScheduleLimits(stepper.first_bytes, stepper.chunk_bytes, stepper.slots, stepper.max_batch)
        self._schedule = StreamSchedule(limits)
        self._ticks = StreamTicks(stepper, self._schedule)
        self._on_results = on_results
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.is_closed = False

    def send(self, commands: Sequence[StreamCommand]) -> None:
        self._ticks.apply(1, commands, self._now_ms())
        self._go_on()

    def close(self) -> None:
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def _go_on(self) -> None:
        results = self._ticks.take_results().get(1)
        if results:
            self._loop.call_later(0.002, self._deliver, results)
        if self._timer is not None:
            self._timer.cancel()
        wait_ms = self._schedule.wait_ms(self._now_ms())
        self._timer = None if wait_ms is None else self._loop.call_later((wait_ms + 3) / 1000, self._tick)

    def _tick(self) -> None:
        self._ticks.run(self._now_ms)
        self._go_on()

    def _deliver(self, results: list[StreamResult]) -> None:
        if not self.is_closed:
            self._on_results(results)


def linked_transcriber(names: Sequence[str] = ("asr-1",), *, end_silent_chunks: int = 0) -> LinkedTranscriber:
    """Return the product's linked transcriber, joined to an inline recogniser of each name."""
    linked = LinkedTranscriber(LinkPatience())
    for name in names:
        link = InlineLink(
            LevelStepper(end_silent_chunks=end_silent_chunks), lambda results, name=name: linked.deliver(name, results)
        )
        linked.join(name, link, streams=0, slots=8)
    return linked


def retriever(script: Script | None = None) -> ScriptedRetriever:
    return ScriptedRetriever(by_term=PASSAGES, script=script or Script(delay_s=0.03))


class SquareVoice:
    """A synthesizer: `ms_per_char` of square wave, in chunks of 100 ms that come `chunk_delay_s` apart."""

    def __init__(self, script: Script | None = None, *, chunk_delay_s: float = 0.03, ms_per_char: int = 40) -> None:
        self.script = script or Script(delay_s=0.05)
        self._chunk_script = Script(delay_s=chunk_delay_s)
        self._ms_per_char = ms_per_char

    async def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        await self.script.act()
        times = self._word_times(request.text)
        total_ms = len(request.text.strip()) * self._ms_per_char
        for start_ms in range(0, total_ms, 100):
            if start_ms:
                await self._chunk_script.act()
            end_ms = min(start_ms + 100, total_ms)
            pcm = square_wave(600, (end_ms - start_ms) * _SAMPLES_PER_MS_24K, start=start_ms * _SAMPLES_PER_MS_24K)
            yield SpeechChunk(pcm, tuple(word for word in times if start_ms <= word.start_ms < end_ms))

    def _word_times(self, text: str) -> list[WordTime]:
        times: list[WordTime] = []
        position = 0
        lead = len(text) - len(text.lstrip())
        for word in text.split():
            begin = text.index(word, position)
            position = begin + len(word)
            start_ms, end_ms = (begin - lead) * self._ms_per_char, (position - lead) * self._ms_per_char
            times.append(WordTime(position, start_ms, end_ms))
        return times


def failing(engine: str, *, times: int = 1, retryable: bool = False) -> Script:
    """Return a script whose first acts fail."""
    script = Script(delay_s=0.02)
    script.failures.extend(EngineError(engine, "broken on purpose", retryable=retryable) for _ in range(times))
    return script
