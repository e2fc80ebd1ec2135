"""The Ray head of an embedded cluster: one machine, loopback only, protected by a token.

It adds three things that Ray does not do by itself:

* *Loopback.* Ray replaces `--node-ip-address 127.0.0.1` with the machine's external address, and its servers then
  listen on all interfaces. With `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0` (meant for desktop systems) Ray stays on
  127.0.0.1.
* *A token.* Whoever reaches Ray's ports can run code as us, and other users of the machine can reach loopback too.
* *A separate temporary folder.* There Ray also writes `ray_current_cluster`, through which a plain `ray.init()` on the
  machine would join a cluster. In our folder no other program finds it, and a stale one harms nobody.
"""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from cluster.config.schema import VoxrayConfig
from cluster.lifecycle.ray.haproxy import write_wrapper
from cluster.lifecycle.ray.loopback import SETUP_HOOK, SETUP_HOOK_VARIABLE
from cluster.programs import Program
from cluster.render.environment import DRIVER_SWITCHES, node_environment
from cluster.services.folder import StateFolder, make_private
from cluster.services.ports import LOOPBACK
from cluster.services.spec import ServiceSpec
from cluster.services.state import write_atomically

# The names under which a head's ports are remembered in the state file.
PORT_NAMES = (
    "ray",
    "ray.dashboard",
    "ray.agent",
    "ray.http",
    "ray.fallback",
    "ray.haproxy-stats",
    "ray.haproxy-metrics",
)
# On a busy machine Ray's orderly shutdown takes longer than this, and saves nothing that the sweep would lose.
RAY_GRACE_S = 5.0


def ensure_token(path: Path) -> str:
    """Return the cluster's token, creating one (mode 0600) if there is none."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        token = ""
    if not token:
        token = secrets.token_hex(32)
        write_atomically(path, token)
    return token


def driver_environment(token_file: Path, address: str) -> dict[str, str]:
    """Return the environment in which a process can join the cluster as a driver or job, without the run's marker.

    `RAY_SERVE_*` must be the same in every process that uses a Serve handle.
    """
    return {
        **DRIVER_SWITCHES,
        "RAY_ADDRESS": address,
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_ENABLE_AUTO_CONNECT": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def head_environment(config: VoxrayConfig, folder: StateFolder, ports: Mapping[str, int]) -> dict[str, str]:
    """Return the environment of `ray start`; every Ray process, replicas included, inherits it."""
    common = driver_environment(folder.token_file, "")
    del common["RAY_ADDRESS"]
    return {
        **node_environment(config),
        **common,
        **_haproxy_environment(folder, ports),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports["ray.fallback"]),
        # A local head that has died is not replaced automatically, so what it leaves must not linger.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "60",
        # On SIGTERM the head would wait 30 s for calls to move to other nodes, which do not exist (`down --drain`
        # waits).
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        SETUP_HOOK_VARIABLE: SETUP_HOOK,
        "RAY_num_workers_soft_limit": "1",
        # By default Ray gives every worker niceness 15, even replicas, so that ingest jobs (at 15) could not yield to
        # them.
        "RAY_worker_niceness": "0",
    }


def _haproxy_environment(folder: StateFolder, ports: Mapping[str, int]) -> dict[str, str]:
    sockets = folder.ray / "h"
    return {
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(folder.run / "haproxy"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports["ray.haproxy-stats"]),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports["ray.haproxy-metrics"]),
        # Serve adds the node's id (56 characters), so names must be short to respect the limit on socket paths.
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(sockets / "c"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(sockets / "a"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(sockets / "m"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(sockets),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(sockets / "s"),
    }


def head_argv(config: VoxrayConfig, folder: StateFolder, ports: Mapping[str, int]) -> tuple[str, ...]:
    """Return the command line of `ray start`, without the log monitor that copies workers' output to drivers."""
    options: dict[str, object] = {
        "--node-ip-address": LOOPBACK,
        "--port": ports["ray"],
        "--dashboard-host": LOOPBACK,
        "--dashboard-port": ports["ray.dashboard"],
        "--dashboard-agent-listen-port": ports["ray.agent"],
        # 0 means any free port, instead of the fixed range 10002-19999 that a second cluster would share.
        "--min-worker-port": 0,
        "--max-worker-port": 0,
        "--temp-dir": folder.ray,
        "--object-store-memory": config.ray.object_store_bytes,
        "--num-cpus": config.ray.num_cpus,
        # The resource that ingest jobs request. In production only nodes that serve no calls have it.
        "--resources": '{"ingest": 1}',
        "--include-dashboard": "true",
        "--include-log-monitor": "false",
    }
    flags = ("--head", "--block", "--no-monitor", "--disable-usage-stats")
    if config.ray.neuron_cores:
        options["--resources"] = json.dumps({"neuron_cores": config.ray.neuron_cores})
    pairs = [f"{name}={value}" for name, value in options.items()]
    return tuple(Program.RAY_HEAD.command("start", *flags, *pairs))


def is_head_ready(dashboard_url: str, token: str) -> bool:
    """Return whether the head's REST API accepts our token."""
    request = urllib.request.Request(
        f"{dashboard_url}/api/serve/applications/", headers={"Authorization": f"Bearer {token}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=2.0) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def head_spec(config: VoxrayConfig, folder: StateFolder, ports: Mapping[str, int]) -> ServiceSpec:
    """Describe the local Ray head."""
    token = ensure_token(folder.token_file)
    dashboard_url = f"http://{LOOPBACK}:{ports['ray.dashboard']}"

    def prepare() -> None:
        make_private(folder.ray)
        write_wrapper(folder.run / "haproxy", (ports["ray.haproxy-stats"], ports["ray.haproxy-metrics"]))

    return ServiceSpec(
        name="ray",
        argv=head_argv(config, folder, ports),
        address=f"{LOOPBACK}:{ports['ray']}",
        port=ports["ray"],
        is_ready=lambda: is_head_ready(dashboard_url, token),
        cwd=folder.root,
        env=head_environment(config, folder, ports),
        prepare=prepare,
        grace_s=RAY_GRACE_S,
    )
