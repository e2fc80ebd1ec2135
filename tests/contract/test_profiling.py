"""`voxray profile` with a real engine: the voice, since it loads in seconds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from autoscaling.engine_profile import LoadPoint, load_profiles
from cluster.cli import app
from deployments.commands.profiling import rising, sustained

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("no_voxray_variables")]


@pytest.mark.timeout(240)  # nine loads of an engine, one after the other
def test_measured_profile_is_one_that_plans_are_made_with(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["profile", "synthesizer", "--seconds", "1", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    profile = next(found for found in load_profiles(tmp_path) if found.engine == "piper-en-us-joe-medium" and
                   found.device == "cpu")  # fmt: skip
    assert (tmp_path / "piper-en-us-joe-medium.cpu.json").exists()
    assert profile.is_measured
    assert 50 * 2**20 < profile.memory_bytes < 4 * 2**30
    assert profile.points[0].requests_s < profile.points[-1].requests_s
    assert 0 < profile.points[0].p50_ms <= profile.points[0].p95_ms


async def test_askers_ask_again_as_soon_as_they_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    # A clock on which each answer takes a millisecond.
    monkeypatch.setattr("deployments.commands.profiling.time", SimpleNamespace(perf_counter=lambda: len(asked) / 1000))

    async def ask(number: int) -> float:
        asked.append(number)
        await asyncio.sleep(0)  # noqa: TID251 - lets the other asker run
        return 0.0

    assert await sustained(ask, 2, 0.05) == pytest.approx(1000)
    assert len(set(asked)) == len(asked) >= 50


def test_lighter_load_is_never_slower_in_a_profile() -> None:
    points = rising([LoadPoint(2, 10, 40), LoadPoint(1, 12, 50), LoadPoint(3, 20, 90)])
    assert [(point.p50_ms, point.p95_ms) for point in points] == [(10, 40), (10, 40), (20, 90)]
