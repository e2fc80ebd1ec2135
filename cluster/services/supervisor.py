"""Starts, checks and stops the processes of one local cluster and records them in its state file.

It is not safe for two processes at once, so the caller must hold the state folder's lock (`cluster.lifecycle.lock`).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.services import ports
from cluster.services.errors import ServiceError
from cluster.services.folder import StateFolder
from cluster.services.processes import ProcessRecord, child_environment, end, find, remember, spawn
from cluster.services.spec import ServiceSpec
from cluster.services.state import RunState, load_state, save_state

POLL_S = 0.05
LOGS_KEPT = 3
TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """The current state of a service. `process` is None when it is not running; `is_ready` means that it answers."""

    name: str
    address: str
    process: psutil.Process | None
    is_ready: bool


class Supervisor:
    """Manages the processes of one state folder. It reads the state file once and writes it at every change.

    Args:
        folder: the state folder.
        is_observer: whether to never write, for callers that only look and so need not hold the lock.
    """

    def __init__(self, folder: StateFolder, *, is_observer: bool = False) -> None:
        self.folder = folder
        self._is_observer = is_observer
        self._state, self.remark = load_state(folder.state_file, is_observer=is_observer)

    @property
    def state(self) -> RunState:
        """The current state."""
        return self._state

    def choose_ports(self, names: list[str], fixed: dict[str, int]) -> dict[str, int]:
        """Return a port for each name and remember it.

        The port of a live process is kept. `fixed` ports come from the configuration and are taken as given.
        """
        held = {name: port for name, port in self._state.ports.items() if self._holds(name)}
        free_names = [name for name in names if name not in held and name not in fixed]
        remembered = {name: port for name, port in self._state.ports.items() if name in free_names}
        blocked = {*held.values(), *fixed.values()}
        chosen = ports.choose_ports(
            free_names,
            remembered,
            self.folder.digest,
            lambda port: port not in blocked and ports.is_port_free(port),
        )
        result = {name: fixed.get(name, held.get(name, chosen.get(name, 0))) for name in names}
        self._keep(self._state.with_ports(result))
        return result

    def health(self, spec: ServiceSpec) -> ServiceHealth:
        """Look at a service without changing anything."""
        process = find(self._state.processes.get(spec.name))
        return ServiceHealth(spec.name, spec.address, process, process is not None and spec.is_ready())

    def ensure(self, spec: ServiceSpec, timeout_s: float) -> bool:
        """Ensure that the service is running and answers. Returns whether it had to be started.

        A process that does not answer within 5 s is replaced. If the start fails or is interrupted, the process is
        ended before the exception is raised.

        Raises:
            ServiceError: the service did not come up. The message contains the end of its log.
        """
        health = self.health(spec)
        if health.process is not None:
            if health.is_ready or _wait_until_ready(spec, 5.0, None):
                return False
            self.stop(spec.name, spec.grace_s)
        if not ports.is_port_free(spec.port):
            raise ServiceError(spec.name, f"port {spec.port} is taken by {_who_listens(spec.port)}")
        self._start(spec, timeout_s)
        return True

    def stop(self, name: str, grace_s: float = 10.0) -> bool:
        """End a service, and return whether it was running."""
        process = find(self._state.processes.get(name))
        if process is not None:
            end(process, grace_s)
        self._keep(self._state.with_process(name, None))
        return process is not None

    def remember_deployed(self, deployed_hash: str) -> None:
        """Remember which rendered application runs ("" for none)."""
        self._keep(self._state.with_deployed(deployed_hash))

    def _start(self, spec: ServiceSpec, timeout_s: float) -> None:
        log = self.folder.log(spec.name)
        rotate(log)
        spec.prepare()
        child = spawn(spec.argv, child_environment(self.folder.run_id, spec.env), spec.cwd, log)
        try:
            self._keep(self._state.with_process(spec.name, _record(child, spec, log)))
            if not _wait_until_ready(spec, timeout_s, child):
                code = child.poll()
                reason = f"no answer in {timeout_s:g} s" if code is None else f"ended with code {code}"
                raise ServiceError(spec.name, f"did not start: {reason}\n{tail(log)}", log=log)
            spec.after_start()
        except BaseException:
            _end_child(child, spec.grace_s)
            self._keep(self._state.with_process(spec.name, None))
            raise

    def _holds(self, port_name: str) -> bool:
        # Ports are named after their service: "redis", "ray", "ray.dashboard".
        return find(self._state.processes.get(port_name.partition(".")[0])) is not None

    def _keep(self, state: RunState) -> None:
        if state != self._state:
            self._state = state
            if not self._is_observer:
                save_state(self.folder.state_file, state)


def rotate(log: Path, kept: int = LOGS_KEPT) -> None:
    """Rename NAME.log to NAME.log.1 and so on, keeping at most `kept` old logs."""
    for number in range(kept, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        newer = log if number == 1 else log.with_name(f"{log.name}.{number - 1}")
        if newer.exists():
            os.replace(newer, older)


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, indented for display, or "" if there is none."""
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            return "".join(f"  | {line.rstrip()}\n" for line in deque(file, maxlen=lines)).rstrip()
    except OSError:
        return ""


def _record(child: subprocess.Popen[bytes], spec: ServiceSpec, log: Path) -> ProcessRecord:
    try:
        return remember(child.pid)
    except psutil.NoSuchProcess as error:
        raise ServiceError(spec.name, f"ended at once\n{tail(log)}", log=log) from error


def _wait_until_ready(spec: ServiceSpec, timeout_s: float, child: subprocess.Popen[bytes] | None) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if child is not None and child.poll() is not None:
            return False
        if spec.is_ready():
            return True
        time.sleep(POLL_S)  # noqa: TID251 -- another process's readiness can only be polled
    return False


def _end_child(child: subprocess.Popen[bytes], grace_s: float) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _who_listens(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            is_listener = connection.status == psutil.CONN_LISTEN and connection.pid
            if is_listener and getattr(connection.laddr, "port", None) == port:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another process"
