"""Measures where the time of a turn goes, from the stimuli and effects of a session.

All marks are in ms after the caller's last voiced audio, or after the request for a written turn, on the server's
clock. The client hears the first sound after `answered` ms plus the network delay in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.ports import AnswerFinished, AnswerNews, Happening, PassagesFound
from pipelines.session.core import Session
from pipelines.session.effects import (
    AnswerAudio,
    AnswerText,
    CancelGeneration,
    Effect,
    FinalizeTranscript,
    ResponseFinished,
    ResponseStarted,
    SpeechStopped,
    StartAnswer,
)
from pipelines.session.settings import Modality
from pipelines.session.stimuli import AudioReady, ClauseReady, TranscriptReady, TurnJudged


@dataclass(frozen=True, slots=True)
class TurnTrace:
    """One answered turn.

    Attributes:
        marks_ms: stage name -> ms after the end of speech: `paused`, `judged`, `transcript`, `turn_end`,
            `answer_started`, `passages`, `first_clause`, `text_done`, `first_audio`, `answered`, `finished`; only
            those that happened.
        status: how the response ended.
        grounding: where the words came from; "" when unknown.
        passages: (source, title, text) of each passage found, the one the answer rests on first.
        wasted_drafts: number of speculative answers dropped since the last turn.
    """

    response_id: str
    marks_ms: dict[str, int]
    status: str
    grounding: str
    rejected: str
    passages: tuple[tuple[str, str, str], ...]
    wasted_drafts: int

    def as_dict(self) -> dict[str, Any]:
        """Return the trace as plain data, for the private trace event."""
        passages = [{"source": source, "title": title, "text": text} for source, title, text in self.passages]
        return {
            "response_id": self.response_id,
            "marks_ms": self.marks_ms,
            "status": self.status,
            "grounding": self.grounding,
            "rejected": self.rejected,
            "passages": passages,
            "wasted_drafts": self.wasted_drafts,
        }


@dataclass(slots=True)
class _Attempt:
    """Times of one generation, in ms of the session's clock."""

    times_ms: dict[str, int] = field(default_factory=dict)
    passages: tuple[tuple[str, str, str], ...] = ()
    grounding: str = ""
    rejected: str = ""

    def mark(self, name: str, now_ms: int) -> None:
        self.times_ms.setdefault(name, now_ms)

    def note_passages(self, found: PassagesFound, now_ms: int) -> None:
        self.mark("passages", now_ms)
        ordered = sorted(found.passages, key=lambda passage: passage != found.chosen)
        self.passages = tuple((passage.source, passage.title, passage.text) for passage in ordered)

    def note_end(self, finished: AnswerFinished, now_ms: int) -> None:
        self.mark("text_done", now_ms)
        self.grounding, self.rejected = str(finished.grounded), finished.rejected


class TurnTracer:
    """A session observer that calls `on_turn` when a response has ended."""

    def __init__(self, session: Session, on_turn: Callable[[TurnTrace], None]) -> None:
        self._session = session
        self._on_turn = on_turn
        self._attempts: dict[int, _Attempt] = {}
        self._turn = _Attempt()  # marks that belong to the caller's turn rather than to one attempt
        self._speech_end_ms: int | None = None
        self._response: tuple[str, int] | None = None
        self._wasted_drafts = 0

    def observe(self, happening: Happening | None, effects: Sequence[Effect], now_ms: int) -> None:
        match happening:
            case TranscriptReady():
                self._turn.times_ms["transcript"] = now_ms
            case TurnJudged():
                self._turn.times_ms["judged"] = now_ms
            case ClauseReady(generation=generation):
                self._attempt(generation).mark("first_clause", now_ms)
            case AudioReady(generation=generation):
                self._attempt(generation).mark("first_audio", now_ms)
            case AnswerNews(generation, PassagesFound() as found):
                self._attempt(generation).note_passages(found, now_ms)
            case AnswerNews(generation, AnswerFinished() as finished):
                self._attempt(generation).note_end(finished, now_ms)
        for effect in effects:
            self._observe_effect(effect, now_ms)

    def _observe_effect(self, effect: Effect, now_ms: int) -> None:
        match effect:
            case FinalizeTranscript():
                self._begin_pause(now_ms)
            case SpeechStopped():
                self._turn.mark("turn_end", now_ms)
            case StartAnswer(generation=generation):
                self._attempt(generation).mark("answer_started", now_ms)
            case CancelGeneration(generation) if self._response is None or self._response[1] != generation:
                dropped = self._attempts.pop(generation, None)
                self._wasted_drafts += dropped is not None and "answer_started" in dropped.times_ms
            case ResponseStarted(response_id=response_id, generation=generation):
                self._response = (response_id, generation)
            case AnswerAudio() | AnswerText(modality=Modality.TEXT) if self._response is not None:
                self._attempt(self._response[1]).mark("answered", now_ms)
            case ResponseFinished():
                self._finish(effect, now_ms)

    def _begin_pause(self, now_ms: int) -> None:
        state = self._session.state
        voiced_end_ms = state.utterance.speech_end_ms if state.utterance is not None else state.scored_ms
        self._turn = _Attempt({"paused": now_ms})
        self._speech_end_ms = now_ms - max(state.scored_ms - voiced_end_ms, 0)

    def _finish(self, finished: ResponseFinished, now_ms: int) -> None:
        if self._response is None:  # the session was taken over in the middle of a response
            return
        attempt = self._attempts.pop(self._response[1], _Attempt())
        times_ms = {**self._turn.times_ms, **attempt.times_ms, "finished": now_ms}
        zero_ms = self._speech_end_ms if self._speech_end_ms is not None else min(times_ms.values())
        trace = TurnTrace(
            response_id=finished.response_id,
            marks_ms={name: time_ms - zero_ms for name, time_ms in sorted(times_ms.items(), key=lambda mark: mark[1])},
            status=str(finished.status),
            grounding=attempt.grounding,
            rejected=attempt.rejected,
            passages=attempt.passages,
            wasted_drafts=self._wasted_drafts,
        )
        self._response, self._speech_end_ms, self._wasted_drafts = None, None, 0
        self._turn = _Attempt()
        self._on_turn(trace)

    def _attempt(self, generation: int) -> _Attempt:
        return self._attempts.setdefault(generation, _Attempt())
