"""What people see of a running cluster: addresses, logs, steps; and how Ray's head is started."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cluster.config.schema import VoxrayConfig
from cluster.lifecycle.addresses import ClusterState
from cluster.lifecycle.logs import follow, last_lines, log_files
from cluster.lifecycle.models import fetch_models
from cluster.lifecycle.ray.ray_head import main as start_head
from cluster.lifecycle.rollouts.deployment import ApplicationProgress, DeploymentProgress
from cluster.lifecycle.steps import Steps, progress_line, progress_table
from cluster.services.folder import open_state_folder
from cluster.services.processes import PROJECT_ROOT

pytestmark = pytest.mark.unit


def state_with(token_path: Path) -> ClusterState:
    return ClusterState(
        http_url="http://127.0.0.1:8000",
        ws_url="ws://127.0.0.1:8000/v1/realtime",
        redis_url="",
        milvus_uri="",
        sql_url="",
        objects_url="",
        dashboard_url="http://127.0.0.1:8265",
        ray_address="127.0.0.1:6379",
        token_path=token_path,
        state_folder=token_path.parent,
    )


def console() -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, width=60, color_system=None), written


def test_driver_finds_ray_and_our_packages_first_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/elsewhere", str(PROJECT_ROOT), "", "/elsewhere"]))
    environment = state_with(tmp_path / "token").ray_environment()
    assert environment["RAY_ADDRESS"] == "127.0.0.1:6379"
    assert environment["RAY_API_SERVER_ADDRESS"] == "http://127.0.0.1:8265"
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(PROJECT_ROOT), "/elsewhere"]


def test_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc123\n")
    assert state_with(tmp_path / "token").token() == "abc123"


def test_logs_are_called_as_people_call_them_and_the_newest_replica_counts(tmp_path: Path) -> None:
    folder = open_state_folder(tmp_path)
    serve = folder.ray / "session_latest" / "logs" / "serve"
    serve.mkdir(parents=True)
    (folder.logs / "redis.log").write_text("")
    for age, name in enumerate(
        ["replica_voxray_Gateway_b.log", "replica_voxray_Gateway_a.log", "controller_12.log", "haproxy_127.0.0.1.log"]
    ):
        (serve / name).write_text("")
        os.utime(serve / name, (1000 + age, 1000 + age))
    found = log_files(folder)
    assert sorted(found) == ["Gateway", "controller", "haproxy", "redis"]
    assert found["Gateway"].name == "replica_voxray_Gateway_a.log"


def test_last_lines_survive_broken_text(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(b"one\ntwo \xff\nthree")
    assert last_lines(tmp_path / "x.log", 2) == ["two �", "three"]
    assert last_lines(tmp_path / "x.log", 9)[0] == "one"


def test_following_begins_at_the_end_and_goes_on_after_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "x.log"
    log.write_text("old\n")

    def add() -> None:
        log.write_text("old\nfirst\n")

    def rotate() -> None:
        log.replace(tmp_path / "x.log.1")
        log.write_text("second\n")

    writes = [add, rotate]
    monkeypatch.setattr("cluster.lifecycle.logs.time.sleep", lambda _seconds: writes.pop(0)())
    lines = follow(log)
    assert [next(lines), next(lines)] == ["first", "second"]
    lines.close()  # type: ignore[attr-defined]


def test_step_that_ends_shows_its_result_and_one_that_fails_passes_on_why() -> None:
    out, written = console()
    steps = Steps(out)
    with steps.step("redis", "starting") as step:
        step.result, step.detail = "adopted", "[port] 6379"
    with pytest.raises(OSError, match="no port"), steps.step("milvus", "starting"):
        raise OSError("no port")
    steps.tell("[bold] stays text")
    redis, milvus, remark = written.getvalue().splitlines()
    assert redis.split()[:2] == ["redis", "adopted"]
    assert redis.endswith("[port] 6379")
    assert milvus.split()[:2] == ["milvus", "failed"]
    assert remark == "  [bold] stays text"


def test_progress_shows_each_deployment_and_an_application_without_any() -> None:
    out, written = console()
    line = DeploymentProgress("Gateway", "HEALTHY", "", running=1, wanted=2)
    out.print(progress_table(ApplicationProgress("DEPLOYING", "", (line,)), {"Gateway": 3.25}))
    out.print(progress_table(ApplicationProgress("NOT_STARTED", "", ()), {}))
    first, second = written.getvalue().splitlines()
    assert first.split() == ["Gateway", "healthy", "1/2", "3.2", "s"]
    assert second.split() == ["application", "not_started"]
    assert progress_line(line, 3.25).split() == ["Gateway", "healthy", "1/2", "3.2", "s"]


def test_models_that_the_engines_need_are_fetched_each_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Catalog:
        def fetch(self, name: str, _progress: object) -> Path:
            asked.append(name)
            return Path("/models") / name

    monkeypatch.setattr("cluster.lifecycle.models.ModelCatalog.load", lambda _config, _environment: Catalog())
    found = fetch_models(VoxrayConfig(profile="embedded"), None)
    assert found == {name: f"/models/{name}" for name in asked}
    assert "silero-vad" in found


@pytest.mark.filterwarnings("ignore")  # of Ray's own modules, when they are imported
def test_head_is_started_without_the_client_server(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.scripts import scripts

    seen: list[Any] = []
    monkeypatch.setattr(scripts, "get_ray_client_dependency_error", lambda: None)
    monkeypatch.setattr(scripts, "main", lambda: seen.append(scripts.get_ray_client_dependency_error()))
    start_head()
    assert seen == ["left out"]


@pytest.mark.filterwarnings("ignore")  # of Ray's own modules, when they are imported
def test_ray_that_decides_otherwise_about_the_client_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.scripts import scripts

    monkeypatch.delattr(scripts, "get_ray_client_dependency_error")
    monkeypatch.setattr(scripts, "main", lambda: pytest.fail("the head must not start"))
    with pytest.raises(RuntimeError, match="Ray Client server"):
        start_head()
