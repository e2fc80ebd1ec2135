"""`voxray plan`, `voxray simulate`, `voxray profile`: what they print, write, and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cluster.cli import app
from cluster.cli.scaling.profile import stage_of
from cluster.config.loading import load_config
from cluster.config.schema import VoxrayConfig
from pipelines.errors import ConfigError

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("no_voxray_variables")]
RUN = CliRunner()


def test_plan_prints_machines_packing_cost_headroom_and_assumptions() -> None:
    done = RUN.invoke(app, ["plan", "--calls", "500", "--slo", "500ms"])
    assert done.exit_code == 0, done.output
    for word in ("packing", "machines", "an hour", "call-minute", "gap", "headroom", "latency", "assumed"):
        assert word in done.stdout


def test_plan_as_settings_is_a_valid_file(tmp_path: Path) -> None:
    written = tmp_path / "plan.yaml"
    done = RUN.invoke(app, ["plan", "--calls", "40", "--isolation", "mps", "--write", str(written), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    addresses = {
        "VOXRAY__SERVICES__REDIS__URL": "rediss://redis.internal:6379/0",
        "VOXRAY__SERVICES__MILVUS__URI": "https://milvus.internal:19530",
        "VOXRAY__SERVICES__SQL__URL": "postgresql://sql.internal/voxray",
        "VOXRAY__SERVICES__OBJECTS__URL": "s3://voxray/objects",
    }
    config = load_config("nvidia", written, addresses)
    stages = {stage["stage"]: stage for stage in report["stages"]}
    replicas = config.pools.transcriber["default"].replicas
    assert replicas.calls == stages["transcriber"]["calls_per_replica"]
    assert replicas.num_gpus == stages["transcriber"]["share"]
    assert config.scaling.gpu_isolation == "mps"
    assert yaml.safe_load(written.read_text())["pools"]["language_model"]["default"]["gpu_memory_utilization"] <= 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--slo", "soon"], "write 500ms"),
        (["plan", "--devices", "abacus"], "unknown device"),
        (["simulate", "--trace", "nowhere.jsonl"], "neither a file"),
        (["simulate", "--sweep", "luck=1,2"], "with a name of"),
        (["simulate", "--ray-targets", "a,b"], "not a list of numbers"),
        (["compare", "--traces", "yesterday"], "is not one of"),
        (["compare", "--targets", "0.8"], "two of Ray's targets"),
    ],
)
def test_wrong_usage_says_what_to_write(arguments: list[str], message: str) -> None:
    done = RUN.invoke(app, arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())


def test_simulation_of_a_recorded_trace_is_written(tmp_path: Path) -> None:
    recorded = tmp_path / "line.jsonl"
    made = ["simulate", "--trace", "opening-hours", "--peak", "60", "--hours", "1", "--ray-targets", ""]
    assert RUN.invoke(app, [*made, "--save-trace", str(recorded)]).exit_code == 0
    out = tmp_path / "out"
    again = ["simulate", "--trace", str(recorded), "--peak", "60", "--sweep", "headroom=0.05,0.2", "--out", str(out)]
    done = RUN.invoke(app, again)
    assert done.exit_code == 0, done.output
    rows = json.loads((out / "simulation.json").read_text())
    assert {row["policy"] for row in rows} == {
        "calls headroom=0.05", "calls headroom=0.2", "ray default at 70%", "ray default at 80%",
    }  # fmt: skip
    assert (out / "simulation.png").stat().st_size > 10_000


def test_comparison_prints_a_verdict_and_is_written(tmp_path: Path) -> None:
    asked = ["compare", "--traces", "poisson", "--seeds", "2", "--peak", "60", "--hours", "0.5", "--targets", "0.7,0.9"]
    done = RUN.invoke(app, [*asked, "--out", str(tmp_path)])
    # Steady calls for half an hour: better or not is for longer days to say, the exit code tells it all the same.
    assert done.exit_code in {0, 1}, done.output
    assert ("NOT better" in done.stdout) is (done.exit_code == 1)
    (trace,) = json.loads((tmp_path / "comparison.json").read_text())
    assert [day["seed"] for day in trace["days"]] == [1, 2]
    assert (tmp_path / "comparison.png").stat().st_size > 10_000


def test_profile_knows_stages_and_models_and_refuses_the_rest() -> None:
    config = VoxrayConfig()
    assert stage_of("transcriber", config) == "transcriber"
    assert stage_of("whisper-tiny", config) == "transcriber"
    with pytest.raises(ConfigError, match="voxray bench"):
        stage_of("gateway", config)
    with pytest.raises(ConfigError, match="known"):
        stage_of("parrot", config)
    scripted = load_config("scripted", None, {})
    with pytest.raises(ConfigError, match="scripted"):
        stage_of("transcriber", scripted)
