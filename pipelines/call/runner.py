"""Runs one session: feeds it audio, time and engine results, and carries out its orders.

The core decides and the runner acts. The runner owns the clock, the tasks and the streams of one call, and nothing that
could not be rebuilt from the core's state and the recent audio. All of it runs on one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, assert_never

from pipelines.audio.history import AudioHistory
from pipelines.call.detection import SpeechDetection
from pipelines.call.observers import ObserverChain
from pipelines.call.state import RunnerState
from pipelines.errors import Component, EngineError, traceback_without_values
from pipelines.ports import (
    AnswerClause,
    Answerer,
    AnswerFinished,
    AnswerNews,
    Hypothesis,
    PassagesFound,
    SpeechDetector,
    SpeechRequest,
    Synthesizer,
    Transcriber,
    TranscriptStream,
    TurnDetector,
)
from pipelines.session.core import Session
from pipelines.session.effects import (
    CancelGeneration,
    CloseUtterance,
    Effect,
    FinalizeTranscript,
    JudgeTurn,
    Notice,
    OpenUtterance,
    Order,
    SealUtterance,
    StartAnswer,
    Synthesize,
)
from pipelines.session.stimuli import (
    AnswerFailed,
    AudioAppended,
    AudioReady,
    ClauseReady,
    ClauseSpoken,
    SessionClosed,
    SpeechScored,
    Stimulus,
    SynthesisFailed,
    TranscriptFailed,
    TranscriptHeard,
    TranscriptReady,
    TurnJudged,
)

logger = logging.getLogger(__name__)

# This covers the longest utterance with its prefix.
KEEP_MARGIN_MS = 5_000
# Audio to save while nobody speaks, because an utterance starts one prefix before its voice is detected.
RECENT_MS = 3_000


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines a session runs on, shared by all sessions of a process."""

    speech_detector: SpeechDetector
    turn_detector: TurnDetector
    transcriber: Transcriber
    answerer: Answerer
    synthesizer: Synthesizer


class SessionRunner:
    """Drives one session until `close`.

    Nothing that engines, timers or the client call here ever raises. An exception in the core, in `on_notice` or in the
    runner itself is a bug, and the call cannot go on: `on_failure` is told once, everything after it is ignored, and
    the owner closes.

    Args:
        on_notice: called in order for every notice to the client; must not block.
        on_failure: called with the first exception that a bug has raised.
        observers: notified of everything that happens.
        left: what the previous runner saved, from which `resume` continues; None for a new session.
    """

    def __init__(
        self,
        session: Session,
        engines: Engines,
        on_notice: Callable[[Notice], None],
        on_failure: Callable[[Exception], None],
        observers: ObserverChain,
        *,
        left: RunnerState | None = None,
    ) -> None:
        self._session = session
        self._engines = engines
        self._on_notice = on_notice
        self._on_failure = on_failure
        self._observers = observers
        self._loop = asyncio.get_running_loop()
        self._left = left or RunnerState()
        self._began_s = self._loop.time() - self._left.session_us / 1_000_000
        keep_ms = session.state.settings.max_utterance_ms + KEEP_MARGIN_MS
        self._history = AudioHistory(keep_ms, self._left.audio_offset_bytes)
        self._history.append(self._left.pcm_16k)
        self._detection = SpeechDetection(engines.speech_detector, self.feed)
        self._streams: dict[str, TranscriptStream] = {}
        self._sealed: set[str] = set()
        self._tasks: dict[int, set[asyncio.Task[None]]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._speaking: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False  # closed, or failed
        self._is_closed = False

    @property
    def session(self) -> Session:
        return self._session

    def now_ms(self) -> int:
        """Milliseconds since the session began."""
        return int((self._loop.time() - self._began_s) * 1000)

    def resume(self, orders: Sequence[Order]) -> None:
        """Continue a session that another runner has left, by giving its orders again."""
        try:
            for order in orders:
                self._carry_out(order)
            if self._left.detection is not None:
                self._detection.resume(self._left.detection, self._history)
            self._arm_timer()
        except Exception as error:
            self._fail(error)

    def save(self) -> RunnerState:
        """Return what another runner needs, besides the session's state, to continue from this moment."""
        state, place = self._session.state, self._detection.place
        recent_ms = self._history.end_ms - RECENT_MS
        starts_ms = [recent_ms, *(awaited.start_ms for awaited in state.awaited.values())]
        if state.utterance is not None:
            starts_ms.append(state.utterance.start_ms)
        if place is not None:
            starts_ms.append(place.warm_up_ms)
        start_ms = max(min(starts_ms), 0)
        session_us = round((self._loop.time() - self._began_s) * 1_000_000)
        return RunnerState(session_us, self._history.start_bytes(start_ms), self._history.since(start_ms), place)

    def feed_audio(self, pcm_16k: bytes) -> None:
        """Accept audio from the caller (any length, whole samples)."""
        if self._is_over or not pcm_16k:
            return
        try:
            self._history.append(pcm_16k)
            for item_id, stream in self._streams.items():
                if item_id not in self._sealed:
                    stream.push(pcm_16k)
            end_ms = self._history.end_ms
            self.feed(AudioAppended(end_ms))
            if self._session.state.settings.turn_detection is None:
                self._detection.close()
            else:
                self._detection.push(pcm_16k, end_ms)
        except Exception as error:
            self._fail(error)

    def feed(self, stimulus: Stimulus) -> None:
        """Apply a stimulus and perform its effects."""
        if self._is_over:
            return
        try:
            now_ms = self.now_ms()
            self._perform(stimulus, self._session.receive(stimulus, now_ms), now_ms)
        except Exception as error:
            self._fail(error)

    async def close(self) -> None:
        """End the session and free everything it holds. Does nothing on successive calls."""
        if self._is_closed:
            return
        self.feed(SessionClosed())
        await self.abandon()

    async def abandon(self) -> None:
        """Free everything but leave the session as it is, so that another runner can continue it."""
        self._is_closed = self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for group in self._tasks.values() for task in group]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._closing, *map(_release, self._streams.values()))
        self._streams.clear()
        self._detection.close()

    def _fail(self, error: Exception) -> None:
        """React to a bug: accept nothing more, and tell the owner."""
        if not self._is_over:
            self._is_over = True
            self._on_failure(error)

    # --- performing effects -------------------------------------------------------------------------------------------

    def _perform(self, stimulus: Stimulus | None, effects: list[Effect], now_ms: int) -> None:
        if not effects and isinstance(stimulus, AudioAppended | SpeechScored):
            # Thousands of frames and windows a second decide nothing. They can only postpone the deadline.
            return
        for effect in effects:
            if isinstance(effect, Order):
                self._carry_out(effect)
            else:
                self._on_notice(effect)
        self._observers.observe(stimulus, effects, now_ms)
        self._arm_timer()

    def _carry_out(self, order: Order) -> None:
        match order:
            case OpenUtterance():
                self._open_utterance(order)
            case SealUtterance(item_id):
                self._sealed.add(item_id)
            case CloseUtterance(item_id):
                self._close_utterance(item_id)
            case FinalizeTranscript(item_id, generation):
                self._spawn(0, self._finalize(item_id, generation))
            case JudgeTurn(generation, start_ms, end_ms):
                self._spawn(generation, self._judge(generation, start_ms, end_ms))
            case StartAnswer(generation=generation):
                self._spawn(generation, self._answer(order))
            case Synthesize(generation=generation):
                before = self._speaking.get(generation)
                self._speaking[generation] = self._spawn(generation, self._speak(order, before))
            case CancelGeneration(generation):
                for task in self._tasks.get(generation, ()):
                    task.cancel()
            case _:
                assert_never(order)

    def _open_utterance(self, order: OpenUtterance) -> None:
        def on_partial(heard: Hypothesis) -> None:
            ended_ms = order.start_ms + heard.audio_ms if heard.ends_utterance else None
            self.feed(TranscriptHeard(order.item_id, heard.text, heard.stable_chars, ended_ms))

        stream = self._engines.transcriber.open(on_partial)
        self._streams[order.item_id] = stream
        stream.push(self._history.since(order.start_ms, order.end_ms))

    def _close_utterance(self, item_id: str) -> None:
        self._sealed.discard(item_id)
        stream = self._streams.pop(item_id, None)
        if stream is not None:
            task = self._loop.create_task(_release(stream))
            self._closing.add(task)  # never cancelled, because an unclosed stream keeps its slot
            task.add_done_callback(self._closing.discard)

    def _spawn(self, generation: int, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as part of `generation`; 0 means until the session ends."""
        task = self._loop.create_task(work)
        group = self._tasks.setdefault(generation, set())
        group.add(task)
        task.add_done_callback(lambda done: self._forget(generation, done))
        return task

    def _forget(self, generation: int, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._fail(error)  # the task itself catches what engines raise
        group = self._tasks[generation]
        group.discard(task)
        if not group and generation:
            del self._tasks[generation]
            self._speaking.pop(generation, None)

    # --- engine work: each returns its results as stimuli, and its failures too ---------------------------------------

    async def _finalize(self, item_id: str, generation: int) -> None:
        stream = self._streams.get(item_id)
        try:
            if stream is None:
                raise EngineError(Component.TRANSCRIBER, "the utterance's stream is gone", retryable=False)
            heard = await stream.finalize()
        except Exception as error:
            self.feed(TranscriptFailed(item_id, generation, _public_message(Component.TRANSCRIBER, error)))
            return
        self.feed(TranscriptReady(item_id, generation, heard.text, heard.ends_utterance))

    async def _judge(self, generation: int, start_ms: int, end_ms: int) -> None:
        try:
            pcm_16k = self._history.since(start_ms, end_ms)
            probability = await self._engines.turn_detector.completion_probability(pcm_16k)
        except Exception as error:
            # Without a judgement the turn still ends after the maximum silence.
            _public_message(Component.TURN_DETECTOR, error)
            return
        self.feed(TurnJudged(generation, probability))

    async def _answer(self, order: StartAnswer) -> None:
        """Feed the answer's clauses. The last one waits for the token counts, which arrive right after it.

        An answer always gets a last clause, even when the answerer ends without `AnswerFinished`.
        """
        generation, last_text, is_told = order.generation, "", False
        try:
            async with aclosing(self._engines.answerer.answer(order)) as events:  # type: ignore[type-var]
                async for event in events:
                    match event:
                        case PassagesFound():
                            self._observers.observe(AnswerNews(generation, event), (), self.now_ms())
                        case AnswerClause(text, is_last) if not is_last:
                            self.feed(ClauseReady(generation, text, is_last=False))
                        case AnswerClause(text):
                            last_text = text
                        case AnswerFinished(prompt_tokens=prompt_tokens, completion_tokens=tokens):
                            self._observers.observe(AnswerNews(generation, event), (), self.now_ms())
                            self.feed(ClauseReady(generation, last_text, True, tokens, prompt_tokens))
                            is_told = True
            if not is_told:
                self.feed(ClauseReady(generation, last_text, is_last=True))
        except Exception as error:
            self.feed(AnswerFailed(generation, _public_message(Component.ANSWER, error)))

    async def _speak(self, order: Synthesize, before: asyncio.Task[None] | None) -> None:
        """Speak one clause once the previous one has been spoken."""
        if before is not None:
            await asyncio.wait([before])
        request = SpeechRequest(order.text, order.voice, order.speed)
        try:
            async with aclosing(self._engines.synthesizer.synthesize(request)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    words = tuple((word.end_char, word.start_ms) for word in chunk.words)
                    self.feed(AudioReady(order.generation, order.clause, chunk.pcm_24k, words))
        except Exception as error:
            message = _public_message(Component.SYNTHESIZER, error)
            self.feed(SynthesisFailed(order.generation, order.clause, message))
            return
        self.feed(ClauseSpoken(order.generation, order.clause))

    # --- time ---------------------------------------------------------------------------------------------------------

    def _arm_timer(self) -> None:
        deadline_ms = None if self._is_over else self._session.next_deadline_ms()
        when_s = None if deadline_ms is None else self._began_s + deadline_ms / 1000
        if self._timer is not None:
            # While audio flows, the deadline moves with every frame. Letting the timer fire early and rechecking is
            # cheaper.
            if when_s is not None and self._timer.when() <= when_s:
                return
            self._timer.cancel()
            self._timer = None
        if when_s is not None:
            self._timer = self._loop.call_at(when_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._is_over:
            return
        try:
            now_ms = self.now_ms()
            self._perform(None, self._session.on_deadline(now_ms), now_ms)
        except Exception as error:
            self._fail(error)


async def _release(stream: TranscriptStream) -> None:
    """Close a stream. A failure to close must not harm the call."""
    try:
        await stream.aclose()
    except Exception as error:
        _public_message(Component.TRANSCRIBER, error)


def _public_message(engine: Component, error: Exception) -> str:
    """Log a failure and return a message for the client that names only the part that failed."""
    if isinstance(error, EngineError):
        logger.warning("! %s (retryable: %s)", error, error.retryable)
        return f"The {error.engine.label} failed."
    logger.error("! %s failed:\n%s", engine.label, traceback_without_values(error))
    return f"The {engine.label} failed."
