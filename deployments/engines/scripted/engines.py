"""Scripted engines for every port: deterministic, without models, for tests, load tests and the demo.

Each takes what it shall answer and a `Script` that says how slowly and how unreliably. Speech detection works on
energy, so that real audio drives real turns; the synthesizer hums a quiet tone as long as the words would take.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from pipelines.audio.pcm import PCM_16K, PCM_24K
from pipelines.errors import Component, EngineError
from pipelines.language.en.clauses import ClauseSplitter
from pipelines.ports import (
    ChatMessage,
    Clause,
    GenerationRequest,
    Hypothesis,
    Passage,
    RetrievalQuery,
    SpeechChunk,
    SpeechRequest,
    SpeechScore,
    WordTime,
)

_WINDOW_MS = 32
_TONE_HZ = 220
_TONE_AMPLITUDE = 600  # about -35 dBFS: audible in a recording, harmless in a headset
_MS_PER_SPOKEN_CHAR = 65  # about 150 words a minute
_CHUNK_MS = 160


@dataclass(slots=True)
class Script:
    """How a scripted engine behaves.

    Attributes:
        delay_s: wait before each answer.
        failures: raised one a call, before anything is answered, until none is left.
    """

    delay_s: float = 0.0
    failures: deque[EngineError] = field(default_factory=deque)

    async def act(self) -> None:
        """Wait, then raise the next failure if one is left."""
        await asyncio.sleep(self.delay_s)  # noqa: TID251 (the scripted latency itself)
        if self.failures:
            raise self.failures.popleft()


class ScriptedSpeechStream:
    """A stream of `ScriptedSpeechDetector`."""

    def __init__(self, threshold_rms: float, on_score: Callable[[SpeechScore], None]) -> None:
        self._threshold_rms = threshold_rms
        self._on_score = on_score
        self._buffer = bytearray()
        self._end_ms = 0
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    def push(self, pcm_16k: bytes) -> None:
        if self._is_closed:
            return
        self._buffer += pcm_16k
        while len(self._buffer) >= PCM_16K.bytes_of(_WINDOW_MS):
            window = np.frombuffer(bytes(self._buffer[: PCM_16K.bytes_of(_WINDOW_MS)]), "<i2").astype(np.float32)
            del self._buffer[: PCM_16K.bytes_of(_WINDOW_MS)]
            self._end_ms += _WINDOW_MS
            is_loud = math.sqrt(float(window @ window) / window.size) >= self._threshold_rms
            self._loop.call_soon(self._deliver, SpeechScore(0.98 if is_loud else 0.02, self._end_ms, _WINDOW_MS))

    def _deliver(self, score: SpeechScore) -> None:
        if not self._is_closed:
            self._on_score(score)

    def close(self) -> None:
        self._is_closed = True


class ScriptedSpeechDetector:
    """Calls a window speech when its level is at least `threshold_dbfs`."""

    def __init__(self, *, threshold_dbfs: float = -45.0) -> None:
        self._threshold_rms = 32768.0 * 10.0 ** (threshold_dbfs / 20.0)

    def open(self, on_score: Callable[[SpeechScore], None]) -> ScriptedSpeechStream:
        """Open a stream; scores come in the next loop iteration after the push that completes their window."""
        return ScriptedSpeechStream(self._threshold_rms, on_score)

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""


class ScriptedTurnDetector:
    """Judges every utterance the same: `probability`, which a test may change at any time."""

    def __init__(self, probability: float = 0.95, script: Script | None = None) -> None:
        self.probability = probability
        self.script = script or Script()

    async def completion_probability(self, pcm_16k: bytes) -> float:
        await self.script.act()
        return self.probability if len(pcm_16k) >= 2 else 0.0

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""


class ScriptedTranscriptStream:
    """A stream of `ScriptedTranscriber`."""

    def __init__(self, owner: ScriptedTranscriber, text: str | None, on_partial: Callable[[Hypothesis], None]) -> None:
        self._owner = owner
        self._text = text
        self._on_partial = on_partial
        self._loop = asyncio.get_running_loop()
        self._bytes = 0
        self._words_shown = 0
        self._finalizing: set[asyncio.Task[Hypothesis]] = set()
        self._is_closed = False

    @property
    def _audio_ms(self) -> int:
        return PCM_16K.ms_of(self._bytes)

    def push(self, pcm_16k: bytes) -> None:
        if self._is_closed:
            return
        self._bytes += len(pcm_16k)
        if self._text is None:
            return
        words = self._text.split()
        heard = min(len(words), self._audio_ms // self._owner.ms_per_word)
        if heard > self._words_shown:
            self._words_shown = heard
            stable = " ".join(words[: heard - 1])
            self._loop.call_soon(self._deliver, Hypothesis(" ".join(words[:heard]), len(stable), self._audio_ms))

    def _deliver(self, hypothesis: Hypothesis) -> None:
        if not self._is_closed:
            self._on_partial(hypothesis)

    async def finalize(self) -> Hypothesis:
        if self._is_closed:
            raise EngineError(Component.TRANSCRIBER, "the stream is closed", retryable=False)
        task = asyncio.create_task(self._finalize())
        self._finalizing.add(task)
        try:
            return await task
        finally:
            task.cancel()
            self._finalizing.discard(task)

    async def _finalize(self) -> Hypothesis:
        audio_ms = self._audio_ms
        await self._owner.script.act()
        text = "" if audio_ms == 0 else self._text if self._text is not None else self._owner.text_for(audio_ms)
        return Hypothesis(text, len(text), audio_ms)

    async def aclose(self) -> None:
        self._is_closed = True
        for task in tuple(self._finalizing):
            task.cancel()


class ScriptedTranscriber:
    """Hears what it is told.

    Args:
        texts: one for each stream, in the order of opening; partials grow by a word every `ms_per_word`.
        by_audio_ms: once `texts` are used up, the entry whose length is nearest is the text (no partials then, since
            the length is not known before the end); "" when there is no entry.
        ms_per_word: pace of the partials.
        script: delays and failures of `finalize`.
    """

    def __init__(
        self,
        texts: Iterable[str] = (),
        *,
        by_audio_ms: Mapping[int, str] | None = None,
        ms_per_word: int = 300,
        script: Script | None = None,
    ) -> None:
        self.texts = deque(texts)
        self.by_audio_ms = dict(by_audio_ms or {})
        self.ms_per_word = ms_per_word
        self.script = script or Script()

    def open(self, on_partial: Callable[[Hypothesis], None]) -> ScriptedTranscriptStream:
        return ScriptedTranscriptStream(self, self.texts.popleft() if self.texts else None, on_partial)

    def text_for(self, audio_ms: int) -> str:
        """Return the table's text for the nearest length."""
        if not self.by_audio_ms:
            return ""
        return self.by_audio_ms[min(self.by_audio_ms, key=lambda length_ms: abs(length_ms - audio_ms))]

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""


class ScriptedRetriever:
    """Finds `passages` for every query, or those of the first key of `by_term` that the query contains.

    Queries are kept in `queries`. A `delay_s` beyond the query's budget raises, as the real one does.
    """

    def __init__(
        self,
        passages: Sequence[Passage] = (),
        *,
        by_term: Mapping[str, Sequence[Passage]] | None = None,
        script: Script | None = None,
    ) -> None:
        self.passages = list(passages)
        self.by_term = dict(by_term or {})
        self.script = script or Script()
        self.queries: list[RetrievalQuery] = []

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        self.queries.append(query)
        try:
            async with asyncio.timeout(query.budget_ms / 1000):
                await self.script.act()
        except TimeoutError as error:
            message = f"no answer within {query.budget_ms} ms"
            raise EngineError(Component.RETRIEVER, message, retryable=True) from error
        lowered = query.text.lower()
        matches = next((found for term, found in self.by_term.items() if term.lower() in lowered), self.passages)
        return list(matches)[: query.limit]

    def warm_up(self) -> None:
        """Nothing to warm."""

    async def probe(self) -> None:
        """Nothing to reach."""


def echo_answer(messages: Sequence[ChatMessage]) -> str:
    """Answer with the last user message: the demo's language model without a model."""
    spoken = next((message.content for message in reversed(messages) if message.role == "user"), "")
    return f"You said: {spoken.strip()}" if spoken.strip() else "I did not hear anything."


class ScriptedLanguageModel:
    """Streams scripted answers clause by clause.

    Args:
        answers: one for each request, in order; afterwards `fallback` of the messages.
        fallback: makes an answer from the prompt.
        script: delay before the first clause, and failures.
        clause_delay_s: wait before each further clause.

    Attributes:
        requests: every request started.
        aborted: ids of requests whose iterator was closed before the last clause.
    """

    def __init__(
        self,
        answers: Iterable[str] = (),
        *,
        fallback: Callable[[Sequence[ChatMessage]], str] = echo_answer,
        script: Script | None = None,
        clause_delay_s: float = 0.0,
    ) -> None:
        self.answers = deque(answers)
        self.fallback = fallback
        self.script = script or Script()
        self.clause_delay_s = clause_delay_s
        self.requests: list[GenerationRequest] = []
        self.aborted: list[str] = []
        self.is_alive = True

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        self.requests.append(request)
        is_complete = False
        try:
            await self.script.act()
            answer = self.answers.popleft() if self.answers else self.fallback(request.messages)
            for index, clause in enumerate(_clauses(answer, request)):
                if index:
                    await asyncio.sleep(self.clause_delay_s)  # noqa: TID251 (the same)
                is_complete = clause.is_last
                yield clause
        except EngineError:
            is_complete = True
            raise
        finally:
            if not is_complete:
                self.aborted.append(request.request_id)

    def load_stats(self) -> dict[str, float]:
        """Nothing is cached and nothing waits."""
        return {}

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""


def _clauses(answer: str, request: GenerationRequest) -> list[Clause]:
    """Cut the answer, limited to `max_tokens` words, since a word stands for a token here."""
    words = answer.split(" ")
    splitter = ClauseSplitter()
    texts = splitter.feed(" ".join(words[: request.max_tokens])) + splitter.flush()
    prompt_tokens = sum(len(message.content.split()) for message in request.messages)
    clauses, tokens = [], 0
    for text in texts:
        tokens += len(text.split())
        clauses.append(Clause(text, False, tokens, prompt_tokens))
    clauses.append(Clause("", True, tokens, prompt_tokens))
    return clauses


class ScriptedSynthesizer:
    """Hums for as long as the words would take, with a time for every word.

    Attributes:
        requests: every request started.
    """

    def __init__(self, *, script: Script | None = None, chunk_delay_s: float = 0.0) -> None:
        self.script = script or Script()
        self.chunk_delay_s = chunk_delay_s
        self.requests: list[SpeechRequest] = []

    async def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        self.requests.append(request)
        await self.script.act()
        words = word_times_by_length(request.text, request.speed)
        if not words:
            return
        total_ms = words[-1].end_ms
        for start_ms in range(0, total_ms, _CHUNK_MS):
            if start_ms:
                await asyncio.sleep(self.chunk_delay_s)  # noqa: TID251 (the same)
            end_ms = min(start_ms + _CHUNK_MS, total_ms)
            starting = tuple(word for word in words if start_ms <= word.start_ms < end_ms)
            yield SpeechChunk(_tone(start_ms, end_ms), starting)

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""


def word_times_by_length(text: str, speed: float = 1.0) -> list[WordTime]:
    """Return a time for each word with a letter or digit, by its length at 150 words a minute."""
    times: list[WordTime] = []
    position, clock_ms = 0, 0
    for word in text.split():
        position = text.index(word, position) + len(word)
        if any(character.isalnum() for character in word):
            length_ms = round((len(word) + 1) * _MS_PER_SPOKEN_CHAR / speed)
            times.append(WordTime(position, clock_ms, clock_ms + length_ms))
            clock_ms += length_ms
    return times


@lru_cache(maxsize=1024)
def _tone(start_ms: int, end_ms: int) -> bytes:
    index = np.arange(PCM_24K.samples_of(start_ms), PCM_24K.samples_of(end_ms))
    wave = _TONE_AMPLITUDE * np.sin(2 * math.pi * _TONE_HZ * index / PCM_24K.rate_hz)
    return wave.astype("<i2").tobytes()
