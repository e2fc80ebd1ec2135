"""Calls that are left at any moment and taken over by another runner, with other engines, perhaps in another process.

A call is a timeline: what the caller's microphone hears, and when the client sends what. What the engines say depends
on what they are given alone, so that others of their kind say the same.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.unit.transcripts.cast import LINES, MS_PER_WORD, RETURNS, SHIPPING, linked_transcriber, square_wave
from tests.unit.transcripts.product import (
    AnswerClause,
    AnswerEvent,
    AnswerFinished,
    Cast,
    Grounding,
    InProcessCall,
    Modality,
    Script,
    ScriptedLanguageModel,
    ScriptedTurnDetector,
    SessionSettings,
    StartAnswer,
    TurnDetection,
    TurnDetectionKind,
)
from tests.unit.transcripts.recording import FRAME_MS, windowed_cast
from tests.unit.transcripts.virtual_time import pass_time, run_virtual

_SAMPLES_PER_FRAME = 24 * FRAME_MS


@dataclass(frozen=True)
class Timeline:
    """What a client does: `sound` is (level, ms) one after the other, `events` are (ms, message).

    `is_linked`: a recogniser that streams hears it. `is_in_parts`: the answer comes clause by clause, slowly.
    """

    sound: tuple[tuple[int, int], ...]
    events: tuple[tuple[int, dict[str, Any]], ...] = ()
    settings: SessionSettings = field(default_factory=SessionSettings)
    is_linked: bool = False
    is_in_parts: bool = False

    @property
    def length_ms(self) -> int:
        return sum(duration_ms for _, duration_ms in self.sound)

    def is_speech(self, at_ms: float) -> bool:
        """Whether the caller speaks there, and has for long enough to be noticed."""
        start_ms = 0
        for level, duration_ms in self.sound:
            if level and start_ms + 150 <= at_ms < start_ms + duration_ms:
                return True
            start_ms += duration_ms
        return False

    def messages(self) -> Iterator[tuple[int, str]]:
        """Yield every message of the client with its time, in order."""
        waiting, start_ms, frame = list(self.events), 0, 0
        for level, duration_ms in self.sound:
            for at_ms in range(start_ms, start_ms + duration_ms, FRAME_MS):
                while waiting and waiting[0][0] <= at_ms:
                    event_ms, event = waiting.pop(0)
                    yield event_ms, json.dumps(event)
                pcm = square_wave(level, _SAMPLES_PER_FRAME, start=frame * _SAMPLES_PER_FRAME)
                yield at_ms, json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()})
                frame += 1
            start_ms += duration_ms


def says(line: int) -> tuple[int, int]:
    return line, len(LINES[line].split()) * MS_PER_WORD


def tell_the_fact(messages: Sequence[Any]) -> str:
    """Answer with the fact of the prompt."""
    return str(messages[-1].content).partition("Fact: ")[2].partition("\n")[0]


class SlowParts:
    """An answerer whose clauses come 200 ms apart."""

    async def answer(self, order: StartAnswer) -> AsyncIterator[AnswerEvent]:
        pause = Script(delay_s=0.2)
        for text in (f"You asked: {order.question}. ", "", "I would say yes. ", "Is there anything else?"):
            await pause.act()
            yield AnswerClause(text)
        yield AnswerClause("", is_last=True)
        yield AnswerFinished(Grounding.MODEL, "", 12, 9)


def cast_for(timeline: Timeline) -> Cast:
    parts: dict[str, Any] = {
        "language_model": ScriptedLanguageModel(fallback=tell_the_fact, script=Script(delay_s=0.12)),
        "turn_detector": ScriptedTurnDetector(script=Script(delay_s=0.03)),
    }
    if timeline.is_in_parts:
        parts["answerer"] = SlowParts()
    if timeline.is_linked:
        parts["transcriber"] = linked_transcriber()
    return windowed_cast(**parts)


@dataclass(frozen=True)
class Sent:
    """A server's message and its time on the session's clock."""

    at_ms: int
    text: str


class _Part:
    """The part of a call that one runner plays; it begins at `from_ms` of the session."""

    def __init__(self, timeline: Timeline, from_ms: float, open_call: Callable[..., InProcessCall]) -> None:
        self._timeline = timeline
        self._from_ms = from_ms
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time() - from_ms / 1000
        self.sent: list[Sent] = []
        self.call = open_call(cast_for(timeline), self._receive)

    async def play(self, until_ms: float) -> None:
        for at_ms, message in self._timeline.messages():
            if self._from_ms <= at_ms < until_ms:
                await self._wait_until(at_ms)
                self.call.take(message)
        await self._wait_until(until_ms)

    async def _wait_until(self, at_ms: float) -> None:
        wait_ms = at_ms - (self._loop.time() - self._began_s) * 1000
        if wait_ms > 0:
            await pass_time(wait_ms)

    def _receive(self, messages: list[bytes]) -> None:
        now_ms = int((self._loop.time() - self._began_s) * 1000)
        self.sent += [Sent(now_ms, message.decode()) for message in messages]


def begin(timeline: Timeline) -> Callable[..., InProcessCall]:
    return lambda cast, receive: InProcessCall.new(cast, receive, timeline.settings)


def go_on(data: bytes) -> Callable[..., InProcessCall]:
    return lambda cast, receive: InProcessCall.resumed(data, cast, receive)


def undisturbed(timeline: Timeline) -> list[Sent]:
    """Play a call to its end with one runner."""

    async def main() -> list[Sent]:
        part = _Part(timeline, 0.0, begin(timeline))
        await part.play(timeline.length_ms)
        await part.call.close()
        return part.sent

    return run_virtual(main())


def until_left(timeline: Timeline, cut_ms: float, left: tuple[float, bytes] | None = None) -> tuple[list[Sent], bytes]:
    """Play a call up to `cut_ms`, from its begin or from where it was left; return what was sent, and its value."""

    async def main() -> tuple[list[Sent], bytes]:
        part = _Part(timeline, left[0] if left else 0.0, go_on(left[1]) if left else begin(timeline))
        await part.play(cut_ms)
        return part.sent, await part.call.leave()

    return run_virtual(main())


def from_left(timeline: Timeline, cut_ms: float, data: bytes) -> list[Sent]:
    """Play the rest of a call that was left at `cut_ms`."""

    async def main() -> list[Sent]:
        part = _Part(timeline, cut_ms, go_on(data))
        await part.play(timeline.length_ms)
        await part.call.close()
        return part.sent

    return run_virtual(main())


def _settings(kind: TurnDetectionKind | None, **options: Any) -> SessionSettings:
    return SessionSettings(turn_detection=kind and TurnDetection(kind), **options)


_TWO_QUESTIONS = ((0, 400), says(RETURNS), (0, 3000), says(SHIPPING), (0, 2500))
_PAUSED = ((0, 300), (RETURNS, 6 * MS_PER_WORD), (0, 400), (RETURNS, 4 * MS_PER_WORD), (0, 2500))
_INTERRUPTED = ((0, 300), says(RETURNS), (0, 900), says(SHIPPING), (0, 2500))
_TELEPHONE = {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcmu"}}}}
_VAD, _SEMANTIC = TurnDetectionKind.SERVER_VAD, TurnDetectionKind.SEMANTIC_VAD

TIMELINES: dict[str, Timeline] = {
    "two questions": Timeline(_TWO_QUESTIONS, settings=_settings(_VAD)),
    "two questions, linked": Timeline(_TWO_QUESTIONS, settings=_settings(_VAD), is_linked=True),
    "two questions by meaning": Timeline(_TWO_QUESTIONS, settings=_settings(_SEMANTIC)),
    "without drafts": Timeline(_TWO_QUESTIONS, settings=_settings(_VAD, speculate=False)),
    "a pause": Timeline(_PAUSED, settings=_settings(_VAD)),
    "an interruption": Timeline(_INTERRUPTED, settings=_settings(_VAD)),
    "telephone": Timeline(_TWO_QUESTIONS, ((10, {"type": "session.update", "session": _TELEPHONE}),), _settings(_VAD)),
    "committed by the client": Timeline(
        (says(SHIPPING), (0, 3000)),
        (
            (1_300, {"type": "input_audio_buffer.commit"}),
            (1_310, {"type": "response.create", "response": {"metadata": {"ticket": "42"}}}),
        ),
        _settings(None),
    ),
    "an answer in parts": Timeline(((0, 300), says(SHIPPING), (0, 5000)), settings=_settings(_VAD), is_in_parts=True),
    "parts in text": Timeline(
        ((0, 300), says(SHIPPING), (0, 3000)), settings=_settings(_VAD, modality=Modality.TEXT), is_in_parts=True
    ),
    "in text": Timeline(_TWO_QUESTIONS, settings=_settings(_VAD, modality=Modality.TEXT)),
}


def main() -> None:
    """Play the rest of a call whose value comes on standard input; print what is sent."""
    _, name, cut_ms = sys.argv
    for sent in from_left(TIMELINES[name], float(cut_ms), sys.stdin.buffer.read()):
        sys.stdout.write(json.dumps([sent.at_ms, sent.text]) + "\n")


if __name__ == "__main__":
    main()
