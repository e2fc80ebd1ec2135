"""The bars of a report, and the chart that holds them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ingest_jobs.speech.evaluation import chart
from ingest_jobs.speech.evaluation.measuring import Report
from ingest_jobs.speech.evaluation.scoring import ErrorRate

pytestmark = pytest.mark.unit
RATE = ErrorRate(0.1, 0.05, 0.2, 10, 100)


def report(**groups: dict[str, ErrorRate]) -> Report:
    return Report("whisper", RATE, groups, None, None, None, 0.1, None, 10.0, 60.0, 0, [])


def test_bars_are_all_recordings_and_then_the_tags_that_are_shown() -> None:
    other = ErrorRate(0.3, 0.2, 0.4, 5, 50)
    bars = chart.conditions(report(voice_seen={"no": other}, source={"grammar": other}, noise={"10 dB": other}))
    assert list(bars) == ["all", "noise: 10 dB", "voice seen: no"]
    assert bars["all"] is RATE


def test_chart_without_its_library_says_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(chart.PlotsMissing, match="`make develop` installs it"):
        chart.plot([report()], tmp_path / "x.svg")
    assert not (tmp_path / "x.svg").exists()
