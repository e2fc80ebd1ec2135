"""`voxray bench --load` with the real voice and the real voice-activity model, and no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli import app

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("no_voxray_variables")]


@pytest.mark.timeout(240)  # a voice and a gateway start
def test_load_alone_is_measured_without_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("VOXRAY_STATE", str(state))
    # As long as three questions with the silence after them, so that turns end in it.
    done = CliRunner().invoke(app, ["bench", "--load", "2", "--load-seconds", "15", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "bench.json").read_text("utf-8"))
    assert report["calls"] == []
    assert [run["calls"] for run in report["load"]] == [2]
    assert report["load"][0]["turns"] > 0
    assert not state.exists()
