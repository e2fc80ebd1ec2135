"""A Ray cluster whose autoscaler adds fake nodes with one GPU each: processes on this machine, no GPU anywhere.

`ray.cluster_utils.AutoscalingCluster` is of no use: it reads a file that the wheel lacks, and it runs `ray stop`, which
ends other people's clusters. So a head is started with an autoscaler configuration of our own, on free ports, in a
temporary folder of its own, and ended by the marker that its processes carry.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cluster.config.environment import process_environment
from cluster.services.ports import LOOPBACK
from cluster.services.processes import end, find_marked

ROOT = Path(__file__).resolve().parents[2]
# The name that the fake provider gives the head; with another the autoscaler starts heads for ever.
HEAD_TYPE = "ray.head.default"
IDLE_MIN = 0.05
MOST_NODES = 4
START_S = 60
_NO_COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
    "cluster_synced_files",
)


@contextmanager
def fake_gpu_cluster() -> Iterator[dict[str, str]]:
    """Yield the environment in which a driver joins the cluster; end everything of it afterwards."""
    run_id = f"fake-gpus-{secrets.token_hex(6)}"
    with tempfile.TemporaryDirectory(prefix="vxg", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with socket.create_server((LOOPBACK, 0)) as listener:
            port = listener.getsockname()[1]
        environment = _environment(folder, f"{LOOPBACK}:{port}", run_id)
        (folder / "autoscaling.yaml").write_text(yaml.safe_dump(autoscaler_configuration(port)), encoding="utf-8")
        log = (folder / "head.log").open("wb")
        head = subprocess.Popen(_head_command(folder, port), env=environment, stdout=log, stderr=log, cwd=ROOT)
        try:
            _await_head(head, port, folder)
            yield environment
        finally:
            head.terminate()
            for _ in range(3):
                for process in find_marked(run_id):
                    end(process, grace_s=0.5)
            head.wait(timeout=30)
            log.close()


def autoscaler_configuration(port: int) -> dict[str, Any]:
    """Return what Ray's autoscaler reads: a head without GPU, and fake nodes with one GPU as they are wanted."""
    empty: dict[str, list[str]] = {name: [] for name in _NO_COMMANDS}
    return {
        "cluster_name": "fake",
        "max_workers": MOST_NODES,
        "idle_timeout_minutes": IDLE_MIN,
        "upscaling_speed": 1.0,
        "docker": {},
        "provider": {
            "type": "fake_multinode",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": f"{LOOPBACK}:{port}",
        },
        "auth": {"ssh_user": "nobody"},
        "file_mounts": {},
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": 8, "head": 1000}, "node_config": {}, "min_workers": 0, "max_workers": 0},
            "gpu": {
                "resources": {"CPU": 4, "GPU": 1, "object_store_memory": 100 * 2**20},
                "node_config": {},
                "min_workers": 0,
                "max_workers": MOST_NODES,
            },
        },
        "head_node_type": HEAD_TYPE,
        **empty,
    }


def _environment(folder: Path, address: str, run_id: str) -> dict[str, str]:
    token = folder / "token"
    token.write_text(secrets.token_hex(32), encoding="ascii")
    token.chmod(0o600)
    kept: Mapping[str, str] = {
        name: value for name, value in process_environment().items() if not name.startswith(("RAY_", "VOXRAY_"))
    }
    return {
        **kept,
        "VOXRAY_RUN_ID": run_id,
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": address,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_ENABLE_AUTO_CONNECT": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(folder),
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
        "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
    }


def _head_command(folder: Path, port: int) -> list[str]:
    return [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats",
        f"--node-ip-address={LOOPBACK}", f"--port={port}", f"--temp-dir={folder / 'ray'}",
        f"--autoscaling-config={folder / 'autoscaling.yaml'}", "--include-dashboard=false",
        "--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0", "--num-cpus=8",
        '--resources={"head": 1000}', f"--object-store-memory={100 * 2**20}", "--include-log-monitor=false",
    ]  # fmt: skip


def _await_head(head: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while "Ray runtime started" not in (text := (folder / "head.log").read_text(errors="replace")):
        if head.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the head did not start on port {port}:\n{text[-2000:]}")
        time.sleep(0.2)
