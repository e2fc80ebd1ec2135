"""Processes of ours: how they are started, known again, measured and ended.

Every process that the cluster is made of inherits one environment variable, `VOXRAY_RUN_ID`, whose value depends on
the state folder alone. That makes "ours" a property of the process and not of a file: after a lost or corrupted state
file, a crash or a `kill -9`, the sweep still finds every process, and never one of another cluster.

Ray renames its processes (setproctitle) by writing over the environment block that `/proc/PID/environ` shows, which
would hide the marker; `SPT_NOENV` makes it leave the block alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.config.environment import process_environment

RUN_ID_VARIABLE = "VOXRAY_RUN_ID"
CREATE_TIME_TOLERANCE_S = 2.0
POLL_S = 0.02
PROJECT_ROOT = Path(__file__).resolve().parents[2]


# Popen objects must outlive their processes, or Python warns; kept here, and dropped once their process has ended.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process as remembered between runs. A pid alone may have been given to somebody else since."""

    pid: int
    create_time: float


def child_environment(run_id: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process of the cluster: the caller's, the marker, our import path, `extra`.

    Variables that would pull the child into somebody else's Ray cluster are left out.
    """
    inherited = {
        key: value for key, value in process_environment().items() if not key.startswith(("RAY_", "VOXRAY_RUN_ID"))
    }
    search_path = [str(PROJECT_ROOT), *filter(None, inherited.get("PYTHONPATH", "").split(os.pathsep))]
    inherited["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(search_path))
    binaries = str(Path(sys.executable).parent)
    inherited["PATH"] = os.pathsep.join(dict.fromkeys([binaries, *inherited.get("PATH", os.defpath).split(os.pathsep)]))
    # Where containers forbid it, each of ten processes would compile PyTorch and the rest anew at every start.
    inherited["PYTHONDONTWRITEBYTECODE"] = ""
    return {**inherited, "SPT_NOENV": "1", RUN_ID_VARIABLE: run_id, **extra}


def spawn(argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a detached process: own session (a Ctrl-C of the terminal does not reach it), output appended to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    _children[:] = [other for other in _children if other.poll() is None] + [child]
    return child


def remember(pid: int) -> ProcessRecord:
    """Return the record by which `find` knows the process again.

    Raises:
        psutil.NoSuchProcess: it is gone already.
    """
    return ProcessRecord(pid, psutil.Process(pid).create_time())


def find(record: ProcessRecord | None) -> psutil.Process | None:
    """Return the live process of a record, or None when it ended or its pid now belongs to another process."""
    if record is None:
        return None
    try:
        process = psutil.Process(record.pid)
        is_same = abs(process.create_time() - record.create_time) < CREATE_TIME_TOLERANCE_S
        return process if is_same and is_alive(process) else None
    except psutil.Error:
        return None


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process still runs (a zombie does not)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def find_marked(run_id: str) -> list[psutil.Process]:
    """Return the live processes that carry this run's marker, without the calling process and its ancestors."""
    try:
        spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    except psutil.Error:
        spared = {os.getpid()}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            if process.environ().get(RUN_ID_VARIABLE) == run_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another user's: not ours
    return found


def end(process: psutil.Process, grace_s: float) -> None:
    """Ask one process to end (SIGTERM), wait, then kill it. Returns when it is gone."""
    try:
        process.terminate()
        _wait_gone([process], grace_s)
        if is_alive(process):
            process.kill()
            _wait_gone([process], 5.0)
    except psutil.NoSuchProcess:
        return


def sweep(run_id: str, grace_s: float) -> list[int]:
    """End every process that carries the marker; return the pids that survived even SIGKILL (none, normally).

    Runs again while the dying start new ones (a supervisor that restarts its children), at most five times.
    """
    for attempt in range(5):
        marked = find_marked(run_id)
        if not marked:
            return []
        _signal_all(marked, signal.SIGTERM if attempt == 0 and grace_s > 0 else signal.SIGKILL)
        _wait_gone(marked, grace_s if attempt == 0 else 5.0)
    return [process.pid for process in find_marked(run_id)]


def pss_bytes(process: psutil.Process) -> int:
    """Return the proportional set size (shared pages divided among their users), or 0 when it cannot be read."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError, OSError):
        return 0


def uptime_s(process: psutil.Process) -> float:
    """Return seconds since the process started."""
    return max(0.0, time.time() - process.create_time())


def _signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue


def _wait_gone(processes: Iterable[psutil.Process], timeout_s: float) -> None:
    # Not psutil.wait_procs: it counts a zombie as alive, and an orphan's reaper (init of a container) may take seconds.
    deadline = time.monotonic() + timeout_s
    while any(is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_S)  # noqa: TID251 -- the end of a process that is not our child can only be polled
    _children[:] = [child for child in _children if child.poll() is None]
