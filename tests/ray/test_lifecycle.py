"""A real head, HAProxy and Serve: what `up` and `down` promise. One cluster, in an operator's order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import websockets.sync.client
from rich.console import Console

from cluster.config.environment import process_environment
from cluster.config.loading import load_config
from cluster.config.schema import PathsConfig, VoxrayConfig
from cluster.lifecycle import ClusterState, attach, cluster, down, up
from cluster.lifecycle.layout import folder_of
from cluster.lifecycle.status import look
from cluster.services.errors import ServiceError
from cluster.services.processes import find_marked
from cluster.services.supervisor import Supervisor

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
ECHO = "tests.ray.apps.echo:build"
BROKEN = "tests.ray.apps.echo:build_broken"
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
# A shell that runs the tests in the background lets its children ignore SIGINT; a terminal does not.
INTERRUPTED_UP = """
import signal
import sys
from pathlib import Path
from cluster.config.loading import load_config
from cluster.config.schema import PathsConfig
from cluster.lifecycle import up
signal.signal(signal.SIGINT, signal.default_int_handler)
config = load_config("scripted", None, {}).model_copy(update={"paths": PathsConfig(state=Path(sys.argv[1]))})
up(config, import_path="tests.ray.apps.echo:build")
"""


def _config(state: Path) -> VoxrayConfig:
    return load_config("scripted", None, {}).model_copy(update={"paths": PathsConfig(state=state)})


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VoxrayConfig]:
    made = _config(tmp_path_factory.mktemp("a cluster with spaces") / "state")
    yield made
    assert down(made) == []


@pytest.fixture(scope="module")
def state(config: VoxrayConfig) -> Iterator[ClusterState]:
    # The code under test may be edited while the test runs; that would rightly be deployed again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "source_fingerprint", lambda: "fixed")
        yield up(config, Console(), import_path=ECHO)


def test_call_crosses_the_ingress(state: ClusterState) -> None:
    with websockets.sync.client.connect(state.ws_url, proxy=None) as socket:
        socket.send("hi")
        answer = socket.recv(timeout=30)
    assert answer == "hi:1"


def test_all_of_it_listens_on_loopback_only(state: ClusterState, config: VoxrayConfig) -> None:
    processes = find_marked(folder_of(config).run_id)
    names = {process.name() for process in processes}
    assert {"redis-server", "gcs_server", "raylet", "haproxy"} <= names
    wide = [
        (process.name(), connection.laddr)
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.ip not in LOOPBACK
    ]
    assert wide == []


def test_marker_reaches_every_process_of_the_head(state: ClusterState, config: VoxrayConfig) -> None:
    head = psutil.Process(Supervisor(folder_of(config), is_observer=True).state.processes["ray"].pid)
    marked = {process.pid for process in find_marked(folder_of(config).run_id)}
    unmarked = [child for child in head.children(recursive=True) if child.pid not in marked and child.is_running()]
    assert unmarked == []


def test_stranger_without_the_token_is_refused(state: ClusterState) -> None:
    for path in ("/api/serve/applications/", "/api/jobs/"):
        assert httpx.get(state.dashboard_url + path, trust_env=False).status_code == 401
    known = httpx.get(
        f"{state.dashboard_url}/api/jobs/", headers={"Authorization": f"Bearer {state.token()}"}, trust_env=False
    )
    assert known.status_code == 200


def test_dataset_is_submitted_as_a_job_listed_and_taken_back(
    state: ClusterState, config: VoxrayConfig, tmp_path: Path
) -> None:
    def voxray(*words: str) -> subprocess.CompletedProcess[str]:
        settings = {"VOXRAY_PROFILE": "scripted", "VOXRAY_STATE": str(config.paths.state)}
        command = [sys.executable, "-m", "cluster.cli", *words]
        return subprocess.run(command, env={**process_environment(), **settings}, capture_output=True, text=True)

    (tmp_path / "dataset.yaml").write_text("name: shop\nembedding: {engine: scripted}\nquality: {min_row_share: 0}\n")
    for round_number in range(2):
        (tmp_path / "a.md").write_text(f"# Hours\nWe open at {round_number + 8}.\n")
        submitted = voxray("ingest", "submit", str(tmp_path), "--force")
        assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    status = json.loads(voxray("ingest", "status", "--json").stdout)
    assert (status["status"], status["progress"]["documents"]) == ("SUCCEEDED", 1)
    assert voxray("ingest", "rollback", "--yes").returncode == 0
    listed = json.loads(voxray("ingest", "list", "--json").stdout)
    assert [job["state"] for job in listed["jobs"]] == ["done", "done"]
    assert [version["state"] for version in listed["versions"]] == ["kept", "live"]
    missing = voxray("ingest", "submit", str(tmp_path / "gone"))
    assert (missing.returncode, "no such dataset" in missing.stderr) == (2, True)


def test_second_up_changes_nothing(state: ClusterState, config: VoxrayConfig) -> None:
    before = {process.pid for process in find_marked(folder_of(config).run_id) if "ServeReplica" in process.name()}
    assert up(config, import_path=ECHO) == state
    after = {process.pid for process in find_marked(folder_of(config).run_id) if "ServeReplica" in process.name()}
    assert after == before


def test_attach_finds_the_cluster_and_status_shows_it_up(state: ClusterState, config: VoxrayConfig) -> None:
    assert attach(config) == state
    found = look(config)
    assert found.exit_code == 0, found.rows
    assert {"redis", "milvus", "sql", "ray", "ingress", "Gateway", "LanguageModel"} <= {row.name for row in found.rows}
    assert 0 < found.total_pss_bytes < 4 * 2**30


def test_driver_joins_by_the_environment_it_is_given(state: ClusterState) -> None:
    program = "import ray; ray.init(log_to_driver=False); print('cpus', int(ray.cluster_resources()['CPU']))"
    environment = {**os.environ, **state.ray_environment()}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "cpus 16" in done.stdout, done.stderr


def test_redis_killed_shows_as_degraded_and_up_repairs_it(state: ClusterState, config: VoxrayConfig) -> None:
    process = psutil.Process(Supervisor(folder_of(config), is_observer=True).state.processes["redis"].pid)
    process.kill()
    psutil.wait_procs([process], timeout=10)
    assert attach(config) is None
    assert look(config).exit_code == 4
    assert up(config, import_path=ECHO) == state
    assert look(config).exit_code == 0


def test_broken_application_fails_early_with_its_reason(state: ClusterState, config: VoxrayConfig) -> None:
    with pytest.raises(ServiceError, match="no weights for Gateway"):
        up(config, import_path=BROKEN)
    assert attach(config) is None


def test_repaired_application_is_deployed_again(state: ClusterState, config: VoxrayConfig) -> None:
    assert up(config, import_path=ECHO) == state


def test_down_leaves_no_process(state: ClusterState, config: VoxrayConfig) -> None:
    assert down(config) == []
    assert find_marked(folder_of(config).run_id) == []
    assert not folder_of(config).ray.exists()
    assert attach(config) is None
    assert look(config).exit_code == 3


def test_interrupted_up_leaves_no_process(tmp_path: Path) -> None:
    config = _config(tmp_path / "state")
    run_id = folder_of(config).run_id
    child = subprocess.Popen([sys.executable, "-c", INTERRUPTED_UP, str(tmp_path / "state")], start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not any(process.name() == "raylet" for process in find_marked(run_id)):
            assert time.monotonic() < deadline, "the head has not come up"
            assert child.poll() is None
            time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) != 0
        assert find_marked(run_id) == []
    finally:
        child.kill()
        child.wait()
        assert down(config) == []
