"""The pure parts of bringing a cluster up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.config.schema import IngressConfig, RayConfig, VoxrayConfig
from cluster.lifecycle.layout import lay_out
from cluster.lifecycle.lock import exclusive
from cluster.lifecycle.ray.haproxy import render_wrapper
from cluster.lifecycle.ray.head import PORT_NAMES, driver_environment, ensure_token, head_argv, head_environment
from cluster.lifecycle.ray.loopback import loopback_address
from cluster.lifecycle.rollouts.deployment import read_progress
from cluster.lifecycle.source import source_fingerprint
from cluster.lifecycle.status import ClusterStatus, StatusRow
from cluster.services.errors import LockHeldError
from cluster.services.folder import StateFolder, open_state_folder
from cluster.services.processes import RUN_ID_VARIABLE
from cluster.services.supervisor import Supervisor
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit
PORTS = {name: 20_000 + number for number, name in enumerate(PORT_NAMES)}


def _status(state: str, **deployments: dict[str, Any]) -> dict[str, Any]:
    return {"applications": {"voxray": {"status": state, "message": "", "deployments": deployments}}}


def _deployment(state: str, *, running: int = 1, message: str = "") -> dict[str, Any]:
    replicas = [{"state": "RUNNING", "log_file_path": "/serve/replica.log"}] * running
    return {"status": state, "message": message, "target_num_replicas": 1, "replicas": replicas}


def test_application_runs_only_when_every_wanted_replica_does() -> None:
    assert read_progress(_status("RUNNING", A=_deployment("HEALTHY")), ["voxray"]).is_running
    assert not read_progress(_status("RUNNING", A=_deployment("HEALTHY", running=0)), ["voxray"]).is_running
    assert not read_progress(_status("DEPLOYING", A=_deployment("HEALTHY")), ["voxray"]).is_running


def test_application_that_serve_does_not_know_has_not_started() -> None:
    progress = read_progress({"applications": {}}, ["voxray"])
    assert (progress.state, progress.is_running, progress.failure) == ("NOT_STARTED", False, "")


def test_failure_names_the_deployment_and_its_reason() -> None:
    failed = _deployment("DEPLOY_FAILED", running=0, message="ValueError: no weights")
    progress = read_progress(_status("DEPLOY_FAILED", A=_deployment("HEALTHY"), B=failed), ["voxray"])
    assert progress.failure == "B: ValueError: no weights"


def test_failure_of_the_last_submission_does_not_count_while_deploying() -> None:
    assert not read_progress(_status("DEPLOYING", B=_deployment("DEPLOY_FAILED")), ["voxray"]).failure


def test_wrapper_rewrites_only_the_private_binds(tmp_path: Path) -> None:
    config = tmp_path / "my haproxy.cfg"
    config.write_text("  bind :9101\n  bind *:8404\n  bind 127.0.0.1:8000\n  bind *:8000\n  bind :91011\n")
    script = tmp_path / "wrapper"
    script.write_text(render_wrapper(Path("/bin/echo"), (9101, 8404)))
    done = subprocess.run(["sh", script, "-db", "-f", config, "-sf", "12"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"-db -f {config} -sf 12"
    assert config.read_text() == (
        "  bind 127.0.0.1:9101\n  bind 127.0.0.1:8404\n  bind 127.0.0.1:8000\n  bind *:8000\n  bind :91011\n"
    )


def test_wrapper_fails_when_the_configuration_cannot_be_rewritten(tmp_path: Path) -> None:
    script = tmp_path / "wrapper"
    script.write_text(render_wrapper(Path("/bin/echo"), (9101,)))
    done = subprocess.run(["sh", script, "-f", tmp_path / "none"], capture_output=True, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("address", "expected"),
    [("[::]:0", "127.0.0.1:0"), ("0.0.0.0:80", "127.0.0.1:80"), ("10.0.0.1:80", "10.0.0.1:80")],
)
def test_wildcard_becomes_loopback(address: str, expected: str) -> None:
    assert loopback_address(address) == expected


def test_head_listens_on_loopback_and_asks_for_the_token(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    config = VoxrayConfig(ingress=IngressConfig(longest_call_s=1234, drain_s=7))
    argv, environment = head_argv(config, folder, PORTS), head_environment(config, folder, PORTS)
    assert argv[0] == sys.executable
    assert "--node-ip-address=127.0.0.1" in argv
    assert "--dashboard-host=127.0.0.1" in argv
    assert environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"] == "1234"
    assert environment["RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"] == "7"
    assert "RAY_ADDRESS" not in environment


def test_driver_does_not_carry_the_marker_that_down_sweeps(tmp_path: Path) -> None:
    assert RUN_ID_VARIABLE not in driver_environment(tmp_path, "127.0.0.1:1")


def test_token_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "token"
    token = ensure_token(path)
    assert len(token) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert ensure_token(path) == token


def test_lock_is_refused_with_the_holder_named(tmp_path: Path) -> None:
    told: list[str] = []
    with (
        exclusive(tmp_path, "up", 0.0, told.append),
        pytest.raises(LockHeldError, match=r"process \d+ \(voxray up\)"),
        exclusive(tmp_path, "down", 0.0, told.append),
    ):
        pass
    assert "voxray up" in told[0]
    with exclusive(tmp_path, "down", 0.0, told.append):
        assert len(told) == 1


def test_layout_refuses_a_cluster_that_is_not_local(tmp_path: Path) -> None:
    folder = open_state_folder(tmp_path)
    config = VoxrayConfig(ray=RayConfig(address="10.0.0.1:6379"))
    with pytest.raises(ConfigError, match=r"ray\.address"):
        lay_out(config, folder, Supervisor(folder))


def test_observer_writes_nothing(tmp_path: Path) -> None:
    folder = open_state_folder(tmp_path)
    lay_out(VoxrayConfig(), folder, Supervisor(folder, is_observer=True))
    assert not folder.state_file.exists()


def test_source_fingerprint_follows_the_code(tmp_path: Path) -> None:
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "app.py").write_text("a = 1")
    first = source_fingerprint(tmp_path)
    assert source_fingerprint(tmp_path) == first
    (tmp_path / "deployments" / "app.py").write_text("a = 2")
    assert source_fingerprint(tmp_path) != first


@pytest.mark.parametrize(("states", "memory", "code"), [(["up"], 1, 0), (["up", "down"], 1, 4), (["down"], 0, 3)])
def test_exit_code_says_how_much_runs(states: list[str], memory: int, code: int) -> None:
    rows = tuple(StatusRow(str(number), state) for number, state in enumerate(states))
    assert ClusterStatus(rows, memory).exit_code == code
