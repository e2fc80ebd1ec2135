"""The policy on a real Ray cluster with fake GPU nodes: a load that comes and goes. One run, a few looks at it.

The rows can be kept for a plot: VOXRAY_TEST_TIMELINE=rows.jsonl, then `python -m tests.bench.plot_timeline`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.config.environment import process_environment
from tests.ray.fake_gpu_cluster import ROOT, fake_gpu_cluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
FRACTIONAL = ("Transcriber", "Synthesizer")


@pytest.fixture(scope="module")
def said() -> list[dict[str, Any]]:
    """Run the driver once; return its lines."""
    with fake_gpu_cluster() as environment:
        done = subprocess.run(
            [sys.executable, "-m", "tests.ray.drivers.scaling_run"],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=330,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    if keep := process_environment().get("VOXRAY_TEST_TIMELINE"):
        Path(keep).write_text(done.stdout, encoding="utf-8")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def looks(said: list[dict[str, Any]], phase: str) -> list[dict[str, Any]]:
    return [line for line in said if line.get("phase") == phase]


def the(said: list[dict[str, Any]], key: str) -> Any:
    return next(line[key] for line in said if key in line)


def test_two_fractional_deployments_share_one_gpu(said: list[dict[str, Any]]) -> None:
    places = the(said, "places")
    assert [len(places[name]) for name in FRACTIONAL] == [1, 2]
    assert len({tuple(place) for name in FRACTIONAL for place in places[name]}) == 1
    assert places["Transcriber"][0][1] == "0"
    assert looks(said, "start")[-1]["gpu_nodes"] == 1


def test_the_third_waits_for_a_node_of_its_own(said: list[dict[str, Any]]) -> None:
    with_one = [row for row in looks(said, "up") if row["gpu_nodes"] == 1]
    assert any(row["waiting"]["LanguageModel"] for row in with_one)
    assert all(row["running"]["LanguageModel"] == 0 and row["running"]["Transcriber"] == 1 for row in with_one)


def test_load_brings_replicas_and_nodes(said: list[dict[str, Any]]) -> None:
    last = looks(said, "up")[-1]
    assert last["calls"] == 16
    assert last["running"] == {"Gateway": 2, "Transcriber": 3, "Synthesizer": 2, "LanguageModel": 1}
    assert last["gpu_nodes"] >= 3


def test_replicas_and_nodes_go_with_the_load_and_no_call_in_progress_notices(said: list[dict[str, Any]]) -> None:
    last = looks(said, "down")[-1]
    assert last["calls"] == 3
    assert last["running"]["Transcriber"] == 1
    assert last["gpu_nodes"] == 2
    assert last["running"]["LanguageModel"] == 1
    kept = the(said, "kept_beats_in_a_second")
    assert len(kept) == 3
    assert all(beats > 0 for beats in kept.values())
    assert all(row["broken"] == {} for row in said if "broken" in row)
    last = looks(said, "end")[-1]
    assert (last["calls"], last["running"]["LanguageModel"], last["gpu_nodes"]) == (0, 0, 1)
