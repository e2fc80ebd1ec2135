"""Runs spoken turns against the running cluster, in one or several calls at once."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cluster.bench.figures import CallFigures, spread
from cluster.caller.line import LineError, TurnResult, open_line
from cluster.caller.questions import speak_question
from cluster.caller.recording import Recording

STAGES = ("paused", "transcript", "judged", "passages", "first_clause", "first_audio", "turn_end", "answered")
GAP_LIMIT_MS = 20.0
PAUSE_BETWEEN_TURNS_S = 0.4


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What to run. `session` is first sent as a session.update; None keeps the server's defaults."""

    name: str
    calls: int
    turns: int
    session: dict[str, Any] | None = None


@dataclass(slots=True)
class _Tally:
    results: list[TurnResult] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


def sample_questions(path: Path) -> list[str]:
    """Return the answerable questions of a question file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [row["question"] for row in rows if row["kind"] != "unanswerable"]


async def spoken_questions(http_url: str, texts: Sequence[str], api_key: str) -> list[Recording]:
    """Synthesize the questions with the cluster's own voice, one after the other."""
    return [await speak_question(http_url, text, api_key) for text in texts]


async def run_calls(
    ws_url: str,
    recordings: Sequence[Recording],
    plan: CallPlan,
    *,
    api_key: str = "",
    on_turn: Callable[[], None] = lambda: None,
) -> CallFigures:
    """Hold `plan.calls` concurrent calls until they have had `plan.turns` turns in total."""
    tally, numbers = _Tally(), itertools.count()
    busy_before_s = _cpu_busy_s()

    async def one_call(position: int) -> None:
        # Calls start at different times and with different questions, as real callers do.
        await asyncio.sleep(position * 0.9)  # noqa: TID251
        async with open_line(ws_url, api_key=api_key) as line:
            if plan.session is not None:
                await line.configure(plan.session)
            while (number := next(numbers)) < plan.turns:
                recording = recordings[(number * 7 + position * 11) % len(recordings)]
                tally.results.append(await line.ask(recording, timeout_s=45))
                if tally.results[-1].voice_to_voice_ms is None:
                    tally.failures[f"no audio: the response ended as '{tally.results[-1].status}'"] += 1
                on_turn()
                await asyncio.sleep(PAUSE_BETWEEN_TURNS_S)  # noqa: TID251

    ended = await asyncio.gather(*(one_call(position) for position in range(plan.calls)), return_exceptions=True)
    for error in ended:
        if isinstance(error, LineError):
            tally.failures[str(error)] += 1
        elif isinstance(error, BaseException):
            raise error
    return _figures(plan, tally, _cpu_busy_s() - busy_before_s)


def _figures(plan: CallPlan, tally: _Tally, cpu_s: float) -> CallFigures:
    answered = [result for result in tally.results if result.voice_to_voice_ms is not None]
    marks = [result.trace.get("marks_ms", {}) for result in answered]
    gaps = [result.playout.longest_gap_ms for result in answered]
    return CallFigures(
        name=plan.name,
        calls=plan.calls,
        turns=len(answered),
        failures=sum(tally.failures.values()),
        failure_reasons=dict(tally.failures),
        voice_to_voice_ms=spread([result.voice_to_voice_ms for result in answered if result.voice_to_voice_ms]),
        stages_ms={stage: spread([mark[stage] for mark in marks if stage in mark]) for stage in STAGES},
        longest_gap_ms=round(max(gaps, default=0.0), 1),
        turns_with_gap_over_20_ms=sum(gap > GAP_LIMIT_MS for gap in gaps),
        false_turn_ends=sum(result.false_turn_ends for result in tally.results),
        wasted_drafts=sum(result.trace.get("wasted_drafts", 0) for result in tally.results),
        cpu_s_per_turn=round(cpu_s / max(len(answered), 1), 2),
    )


def _cpu_busy_s() -> float:
    """Return the seconds all cores have been busy, which includes the share of the simulated callers."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)
