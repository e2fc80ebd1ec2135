"""Computes percentiles, and writes the report as one JSON file and one Markdown table."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from cluster.processor import this_processor


@dataclass(frozen=True, slots=True)
class Spread:
    """p50, p95, p99 and the largest of `count` values."""

    count: int
    p50: float
    p95: float
    p99: float
    largest: float


def spread(values: Sequence[float]) -> Spread | None:
    """Summarise values, or return None when there are none."""
    if not values:
        return None
    p50, p95, p99 = np.percentile(np.asarray(values, float), [50, 95, 99])
    return Spread(len(values), round(float(p50), 1), round(float(p95), 1), round(float(p99), 1), round(max(values), 1))


@dataclass(slots=True)
class CallFigures:
    """Results with real engines and `calls` concurrent calls.

    Spreads are in ms from the caller's last voiced sample.
    """

    name: str
    calls: int
    turns: int
    failures: int
    failure_reasons: Mapping[str, int]
    voice_to_voice_ms: Spread | None
    stages_ms: Mapping[str, Spread | None]
    longest_gap_ms: float
    turns_with_gap_over_20_ms: int
    false_turn_ends: int
    wasted_drafts: int
    cpu_s_per_turn: float


@dataclass(slots=True)
class LoadFigures:
    """Results with scripted engines, real voice activity detection, one gateway core and frames of 20 ms."""

    calls: int
    turns: int
    added_latency_ms: Spread | None
    gateway_cpu_share: float
    frames_sent_late: int


@dataclass(slots=True)
class Report:
    """The report of a whole run."""

    machine: str
    began_at: str
    calls: list[CallFigures] = field(default_factory=list)
    load: list[LoadFigures] = field(default_factory=list)

    @classmethod
    def begin(cls) -> Report:
        processor = this_processor()
        machine = f"{processor} (language models in {processor.dtype}), Python {platform.python_version()}"
        return cls(machine, datetime.now(UTC).isoformat(timespec="seconds"))

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write bench.json and bench.md into `folder`; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        data, table = folder / "bench.json", folder / "bench.md"
        data.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        table.write_text(self.markdown(), encoding="utf-8")
        return data, table

    def markdown(self) -> str:
        """Return the report as Markdown."""
        lines = [f"Measured {self.began_at} on {self.machine}.", ""]
        if self.calls:
            lines += [*_call_table(self.calls), "", *_stage_table(self.calls), ""]
        lines += [f"- {run.name}: {count} x {why}" for run in self.calls for why, count in run.failure_reasons.items()]
        if self.load:
            lines += [*_load_table(self.load), ""]
        return "\n".join(lines)


def _call_table(calls: Sequence[CallFigures]) -> list[str]:
    rows = [
        "| run | calls | turns | failed | voice-to-voice p50 / p95 / p99 ms | ratio of p50 to the first run "
        "| longest gap ms | turns with a gap > 20 ms | false turn ends | wasted drafts | CPU s a turn |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    first = calls[0].voice_to_voice_ms
    for run in calls:
        voice = run.voice_to_voice_ms
        ratio = f"{voice.p50 / first.p50:.2f}" if voice and first else "-"
        rows.append(
            f"| {run.name} | {run.calls} | {run.turns} | {run.failures} | {_text(voice)} | {ratio} "
            f"| {run.longest_gap_ms:.0f} | {run.turns_with_gap_over_20_ms} | {run.false_turn_ends} "
            f"| {run.wasted_drafts} | {run.cpu_s_per_turn:.2f} |"
        )
    return rows


def _stage_table(calls: Sequence[CallFigures]) -> list[str]:
    stages = list(dict.fromkeys(stage for run in calls for stage in run.stages_ms))
    rows = ["| stage, ms after the last sound (p50 / p95 / p99) | " + " | ".join(run.name for run in calls) + " |"]
    rows.append("|---" * (len(calls) + 1) + "|")
    for stage in stages:
        cells = " | ".join(_text(run.stages_ms.get(stage)) for run in calls)
        rows.append(f"| {stage} | {cells} |")
    return rows


def _load_table(load: Sequence[LoadFigures]) -> list[str]:
    rows = [
        "| calls on one gateway core | turns | added latency p50 / p95 / p99 ms | CPU of the core | late frames |",
        "|---|---|---|---|---|",
    ]
    for run in load:
        share = f"{run.gateway_cpu_share:.0%}"
        rows.append(f"| {run.calls} | {run.turns} | {_text(run.added_latency_ms)} | {share} | {run.frames_sent_late} |")
    return rows


def _text(values: Spread | None) -> str:
    return f"{values.p50:.0f} / {values.p95:.0f} / {values.p99:.0f}" if values else "-"
