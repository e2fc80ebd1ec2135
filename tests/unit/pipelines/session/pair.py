"""A scripted caller and scripted engines joined to the session core, without a socket, a thread or a clock."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.session.core import Session
from pipelines.session.effects import (
    Effect,
    FinalizeTranscript,
    JudgeTurn,
    StartAnswer,
    Synthesize,
)
from pipelines.session.settings import SessionSettings, TurnDetection, TurnDetectionKind
from pipelines.session.stimuli import (
    AudioAppended,
    AudioReady,
    ClauseReady,
    ClauseSpoken,
    SpeechScored,
    Stimulus,
    TranscriptReady,
    TurnJudged,
)

WINDOW_MS = 32
AUDIO_100_MS = b"\x01\x00" * 2400

VAD = SessionSettings(turn_detection=TurnDetection(kind=TurnDetectionKind.SERVER_VAD, silence_duration_ms=320))
SEMANTIC = SessionSettings(turn_detection=TurnDetection(kind=TurnDetectionKind.SEMANTIC_VAD))
MANUAL = SessionSettings(turn_detection=None)


class SessionPair:
    """Drives a session by audio time; `effects` holds all effects so far, in order."""

    def __init__(self, settings: SessionSettings = VAD) -> None:
        self.session = Session.start("s", settings)
        self.now_ms = 0
        self.effects: list[Effect] = []

    def send(self, *stimuli: Stimulus) -> list[Effect]:
        """Deliver stimuli now; return their effects."""
        new = [effect for stimulus in stimuli for effect in self.session.receive(stimulus, self.now_ms)]
        self.effects += new
        return new

    def hear(self, probability: float, duration_ms: int) -> list[Effect]:
        """Let `duration_ms` of audio arrive and be scored, window by window."""
        new: list[Effect] = []
        for _ in range(duration_ms // WINDOW_MS):
            self.now_ms += WINDOW_MS
            end_ms = self.session.state.appended_ms + WINDOW_MS
            new += self.send(AudioAppended(end_ms), SpeechScored(probability, end_ms, WINDOW_MS))
        return new

    def speak(self, duration_ms: int = 640) -> list[Effect]:
        return self.hear(0.9, duration_ms)

    def be_silent(self, duration_ms: int) -> list[Effect]:
        return self.hear(0.02, duration_ms)

    def pass_time(self, duration_ms: int) -> list[Effect]:
        """Let time pass without audio; deadlines fire as a runner would fire them."""
        end_ms, new = self.now_ms + duration_ms, []
        while (deadline_ms := self.session.next_deadline_ms()) is not None and deadline_ms <= end_ms:
            self.now_ms = max(self.now_ms, deadline_ms)
            new += self.session.on_deadline(self.now_ms)
        self.now_ms = end_ms
        self.effects += new
        return new

    def transcribe(self, text: str) -> list[Effect]:
        """Answer the last request for a transcript."""
        order = self.last(FinalizeTranscript)
        return self.send(TranscriptReady(order.item_id, order.generation, text))

    def judge(self, probability: float) -> list[Effect]:
        return self.send(TurnJudged(self.last(JudgeTurn).generation, probability))

    def answer(self, *clauses: str) -> list[Effect]:
        """Answer the last request with all clauses, the last one marked."""
        generation = self.last(StartAnswer).generation
        last = len(clauses) - 1
        return self.send(*(ClauseReady(generation, text, i == last) for i, text in enumerate(clauses)))

    def synthesize(self, *, times: int = 1) -> list[Effect]:
        """Speak every clause ordered so far that has not been spoken: `times` pieces of 100 ms each."""
        new: list[Effect] = []
        for order in self.all(Synthesize):
            words = ((len(order.text), 0),)
            pieces = [
                AudioReady(order.generation, order.clause, AUDIO_100_MS, words if i == 0 else ()) for i in range(times)
            ]
            new += self.send(*pieces, ClauseSpoken(order.generation, order.clause))
        return new

    def all(self, kind: type) -> list:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def last(self, kind: type):
        return self.all(kind)[-1]


def names(effects: Iterable[Effect]) -> list[str]:
    """Class names, with runs of the same name folded."""
    folded: list[str] = []
    for effect in effects:
        name = type(effect).__name__
        if not folded or folded[-1] != name:
            folded.append(name)
    return folded
