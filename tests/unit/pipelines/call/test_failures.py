"""A bug in the core, wherever it shows: told once, to the owner alone, and nothing of the call is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.session.core import Session
from pipelines.session.effects import ResponseStarted, SpeechStarted
from pipelines.session.settings import SessionSettings
from pipelines.session.stimuli import (
    AudioAppended,
    AudioReady,
    ClauseReady,
    ClauseSpoken,
    SpeechScored,
    TranscriptHeard,
    TranscriptReady,
    TurnJudged,
)
from tests.unit.transcripts.cast import RETURNS, SquareVoice, linked_transcriber
from tests.unit.transcripts.product import Cast, InProcessCall
from tests.unit.transcripts.recording import ScriptedCall, windowed_cast
from tests.unit.transcripts.virtual_time import run_virtual

pytestmark = pytest.mark.unit

SPEECH = "how many days"
Break = Callable[[pytest.MonkeyPatch], None]


class Bug(Exception):
    """Not one of the product's own errors."""


def core_at(kind: type) -> Break:
    """Break the core at the first stimulus of a kind."""

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        receive = Session.receive

        def breaking(self: Session, stimulus: Any, now_ms: int) -> Any:
            if isinstance(stimulus, kind):
                raise Bug(SPEECH)
            return receive(self, stimulus, now_ms)

        monkeypatch.setattr(Session, "receive", breaking)

    return apply


def deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(self: Session, now_ms: int) -> Any:
        raise Bug(SPEECH)

    monkeypatch.setattr(Session, "on_deadline", breaking)


def translator_at(kind: type) -> Break:
    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        outbound = InProcessCall.outbound

        def breaking(self: InProcessCall, notice: Any) -> None:
            if isinstance(notice, kind):
                raise Bug(SPEECH)
            outbound(self, notice)

        monkeypatch.setattr(InProcessCall, "outbound", breaking)

    return apply


def task_of_the_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaking(*_arguments: Any) -> None:
        raise Bug(SPEECH)

    monkeypatch.setattr("pipelines.call.runner.SessionRunner._answer", breaking)


class Played:
    """A call that is spoken to its end, whatever breaks in it."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.told_to_loop: list[Any] = []
        self.tasks_left: set[Any] = set()
        self.failures: list[Exception] = []
        self.closing_failed = False

    async def play(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self.told_to_loop.append(context))
        call = ScriptedCall(self.cast, SessionSettings())
        self.failures = call.failures
        await call.says(RETURNS, words=5)
        await call.sends_nothing(3_000)
        await call.says(RETURNS)
        await call.is_silent(3_000)
        self.closing_failed = False
        try:
            await call.close()
        except Bug:
            self.closing_failed = True
        self.tasks_left = asyncio.all_tasks() - {asyncio.current_task()}


def play(make_cast: Callable[[], Cast]) -> Played:
    async def main() -> Played:
        played = Played(make_cast())
        await played.play()
        return played

    return run_virtual(main())


def linked_cast() -> Cast:
    return windowed_cast(transcriber=linked_transcriber())


BREAKS: dict[str, Break] = {
    "frame": core_at(AudioAppended),
    "score callback": core_at(SpeechScored),
    "partial callback": core_at(TranscriptHeard),
    "transcript": core_at(TranscriptReady),
    "judgement": core_at(TurnJudged),
    "clause": core_at(ClauseReady),
    "audio": core_at(AudioReady),
    "end of a clause": core_at(ClauseSpoken),
    "timer": deadline,
    "translator, in a score callback": translator_at(SpeechStarted),
    "translator, in a timer or a task": translator_at(ResponseStarted),
    "task of the runner": task_of_the_runner,
}


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("make_cast", [windowed_cast, linked_cast])
def test_a_bug_is_told_to_the_owner_once_and_to_nobody_else(
    name: str, make_cast: Callable[[], Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    BREAKS[name](monkeypatch)

    played = play(make_cast)

    assert [type(error) for error in played.failures] == [Bug]
    assert played.told_to_loop == []


@pytest.mark.parametrize("name", BREAKS)
def test_a_call_that_failed_leaves_no_task_and_no_slot(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BREAKS[name](monkeypatch)

    played = play(linked_cast)

    assert played.tasks_left == set()
    gauges = played.cast.transcriber.gauges()
    assert (gauges["pinned"], gauges["waiting"]) == (0, 0)


def test_a_call_that_ends_in_mid_utterance_frees_its_slot() -> None:
    async def main() -> dict[str, int]:
        cast = linked_cast()
        call = ScriptedCall(cast, SessionSettings())
        await call.says(RETURNS, words=5)
        assert cast.transcriber.gauges()["pinned"] == 1
        await call.close()
        return cast.transcriber.gauges()

    assert run_virtual(main())["pinned"] == 0


def test_an_engine_that_cannot_close_its_stream_ends_no_call(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[str]:
        cast = windowed_cast(synthesizer=SquareVoice())
        opened = cast.transcriber.open

        def open_broken(*arguments: Any) -> Any:
            stream = opened(*arguments)
            close = stream.aclose

            async def breaking() -> None:
                await close()
                raise Bug(SPEECH)

            stream.aclose = breaking
            return stream

        cast.transcriber.open = open_broken
        call = ScriptedCall(cast, SessionSettings())
        await call.says(RETURNS)
        await call.until_answered()
        return await call.close()

    assert any('"status":"completed"' in line for line in run_virtual(main()))
    assert "Bug" in caplog.text
    assert SPEECH not in caplog.text
