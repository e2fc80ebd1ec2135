"""The local Milvus, as `voxray up` starts it, of its own for a test session."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_TIMEOUT_S = 30


@contextmanager
def milvus_server(data_dir: Path) -> Iterator[str]:
    """Run a server on a free loopback port; yield its URI. Data stays in `data_dir`."""
    port = free_port()
    command = [sys.executable, "-m", "cluster.services.milvus_server", "--data-dir", str(data_dir), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for_port(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as client:
            client.settimeout(0.2)
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        server_ended(server)
    raise RuntimeError("milvus-lite did not start")


def server_ended(server: subprocess.Popen[bytes], wait_s: float = 0.1) -> bool:
    """Wait a moment for the server's end; say whether it ended."""
    try:
        server.wait(timeout=wait_s)
    except subprocess.TimeoutExpired:
        return False
    return True


class RestartableMilvus:
    """A server that may be killed and started again on the same port and data."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RestartableMilvus:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        binary = Path(sys.executable).parent / "milvus-lite"
        command = [str(binary), "server", "--data-dir", str(self._data_dir), "--host", "127.0.0.1"]
        command += ["--port", str(self._port)]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for_port(self._port, self._server)
        except RuntimeError:
            self.kill()  # nobody else would: a context that was not entered is not left
            raise

    def kill(self) -> None:
        """End it by SIGKILL, in the middle of whatever it does."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
