"""Figures of spoken turns, the frames of a load run, and a call as the terminal shows it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cluster.bench.calls import CallPlan, _figures, _Tally, sample_questions
from cluster.bench.gateway_load import SILENCE_AFTER_MS, _Caller, _frames, _listen
from cluster.caller.line import TurnResult
from cluster.caller.playout import Playout
from cluster.caller.recording import Recording
from cluster.caller.screen import CallScreen
from pipelines.audio.pcm import PCM_24K

pytestmark = pytest.mark.unit


def test_questions_without_an_answer_are_not_asked(tmp_path: Path) -> None:
    rows = [{"question": "a?", "kind": "fact"}, {"question": "b?", "kind": "unanswerable"}]
    file = tmp_path / "q.jsonl"
    file.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")
    assert sample_questions(file) == ["a?"]


def turn(ms: float | None, *, gaps: list[float] | None = None, **trace: Any) -> TurnResult:
    return TurnResult(voice_to_voice_ms=ms, playout=Playout(gaps_ms=gaps or []), trace=trace, false_turn_ends=1)


def test_figures_count_answered_turns_and_every_failure() -> None:
    tally = _Tally([turn(500.0, gaps=[5.0, 21.0], wasted_drafts=2, marks_ms={"paused": 100}), turn(None)])
    tally.failures["no audio"] += 1
    figures = _figures(CallPlan("1 at once", 1, 2), tally, cpu_s=3.0)
    assert (figures.turns, figures.failures, figures.failure_reasons) == (1, 1, {"no audio": 1})
    assert (figures.longest_gap_ms, figures.turns_with_gap_over_20_ms) == (21.0, 1)
    assert (figures.false_turn_ends, figures.wasted_drafts, figures.cpu_s_per_turn) == (2, 2, 3.0)


def test_figures_of_no_turn_at_all_are_none_and_no_division() -> None:
    figures = _figures(CallPlan("1 at once", 1, 2), _Tally(), cpu_s=3.0)
    assert (figures.turns, figures.longest_gap_ms, figures.cpu_s_per_turn) == (0, 0.0, 3.0)


def test_round_of_a_load_run_is_the_question_and_then_silence_in_whole_frames() -> None:
    voice = b"\1\0" * 24 * 50
    frames = [json.loads(frame) for frame in _frames(Recording(voice, 50))]
    assert {frame["type"] for frame in frames} == {"input_audio_buffer.append"}
    pieces = [base64.b64decode(frame["audio"]) for frame in frames]
    assert {len(piece) for piece in pieces} == {PCM_24K.bytes_of(20)}
    assert len(pieces) == (50 + SILENCE_AFTER_MS) // 20
    assert b"".join(pieces).startswith(voice)
    assert not any(pieces[-1])


class Socket:
    """A connection that gives out some messages and ends."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.left = [json.dumps(message, separators=(",", ":")) for message in messages]

    def __aiter__(self) -> Socket:
        return self

    async def __anext__(self) -> str:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


def test_turn_is_timed_from_the_frame_that_ended_it_to_the_first_audio_alone() -> None:
    caller = _Caller(sent_at_s=[0.0, 0.0, 0.0, 0.0])
    audio = {"type": "response.output_audio.delta", "delta": ""}
    asyncio.run(_listen(Socket(audio), caller))
    assert caller.added_ms == []
    stopped = {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 41}
    asyncio.run(_listen(Socket(stopped), caller))
    assert caller.awaiting_frame == 2
    asyncio.run(_listen(Socket(audio, audio), caller))
    assert len(caller.added_ms) == 1
    assert caller.awaiting_frame is None


def test_call_is_shown_line_by_line_where_nothing_can_be_redrawn() -> None:
    written = io.StringIO()
    with CallScreen(Console(file=written, width=80, color_system=None)) as screen:
        screen.show({"type": "voxray.transcript.partial", "text": "where is"})
        screen.show({"type": "conversation.item.input_audio_transcription.completed", "transcript": "where is it"})
        screen.show({"type": "response.output_audio_transcript.delta", "delta": "On its "})
        screen.show({"type": "response.created"})
        screen.show({"type": "response.output_audio_transcript.done", "transcript": " On its way. "})
    assert [line.split(maxsplit=1) for line in written.getvalue().splitlines() if line.strip()] == [
        ["hearing", "where is"],
        ["heard", "where is it"],
        ["answer", "On its way."],
    ]


def test_end_of_a_call_says_where_the_words_and_the_time_come_from() -> None:
    written = io.StringIO()
    trace = {
        "marks_ms": {"transcript": 90, "paused": 70},
        "passages": [{"text": "Ships today.", "source": "faq.md"}],
        "grounding": "model",
    }
    CallScreen(Console(file=written, width=80, color_system=None)).conclude(turn(512.4, gaps=[30.0], **trace))
    lines = [" ".join(line.split()) for line in written.getvalue().splitlines() if line.strip()]
    assert lines[:2] == ["passage Ships today. faq.md", "words from model"]
    assert lines[3:] == [
        "silence noticed 70",
        "words recognised 90",
        "first audio at the caller 512",
        "longest audio gap 30 ms",
    ]
