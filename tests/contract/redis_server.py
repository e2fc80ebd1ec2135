"""A Redis server of its own for a test session."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from tenacity import retry, stop_after_delay, wait_fixed

from cluster.services.redis_server import find_redis_binary, render_redis_config


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a server on a free loopback port; yield its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "redis.conf"
    config.write_text(render_redis_config(folder, port))
    command = [str(find_redis_binary()), str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()


@retry(stop=stop_after_delay(20), wait=wait_fixed(0.05), reraise=True)
def _wait_for(port: int) -> None:
    with redis.Redis(port=port) as client:
        client.ping()
