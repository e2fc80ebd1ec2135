"""Starts, recognises, measures and ends the processes of a cluster.

Every process that the cluster is made of inherits one environment variable, `VOXRAY_RUN_ID`, whose value depends on
the state folder alone. Belonging to a cluster is thus a property of the process and not of a file. Even after a lost or
corrupted state file, a crash or a `kill -9`, the sweep finds every process, and never one of another cluster.

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


# Popen objects must outlive their processes or Python warns, so they are kept here until their process has ended.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process as remembered between runs. The pid alone is not enough, since it may have been reused."""

    pid: int
    create_time: float


def child_environment(run_id: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process in the cluster: the caller's, with the marker, our import path and `extra`.

    Variables that would make the child join another Ray cluster are left out.
    """
    inherited = {
        key: value for key, value in process_environment().items() if not key.startswith(("RAY_", "VOXRAY_RUN_ID"))
    }
    search_path = [str(PROJECT_ROOT), *filter(None, inherited.get("PYTHONPATH", "").split(os.pathsep))]
    inherited["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(search_path))
    binaries = str(Path(sys.executable).parent)
    inherited["PATH"] = os.pathsep.join(dict.fromkeys([binaries, *inherited.get("PATH", os.defpath).split(os.pathsep)]))
    # Where containers forbid bytecode, each of ten processes would recompile PyTorch and the rest at every start.
    inherited["PYTHONDONTWRITEBYTECODE"] = ""
    return {**inherited, "SPT_NOENV": "1", RUN_ID_VARIABLE: run_id, **extra}


def spawn(argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a process in its own session, out of reach of the terminal's Ctrl-C, with output appended to `log`."""
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
        psutil.NoSuchProcess: the process has already ended.
    """
    return ProcessRecord(pid, psutil.Process(pid).create_time())


def find(record: ProcessRecord | None) -> psutil.Process | None:
    """Return the live process of a record, or None if it has ended or its pid was reused."""
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
    """Return the live processes that carry this run's marker, except the calling process and its ancestors."""
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
            continue  # it has ended meanwhile or belongs to another user
    return found


def end(process: psutil.Process, grace_s: float) -> None:
    """Ask one process to end (SIGTERM), wait, then kill it. Returns when it has ended."""
    try:
        process.terminate()
        _wait_gone([process], grace_s)
        if is_alive(process):
            process.kill()
            _wait_gone([process], 5.0)
    except psutil.NoSuchProcess:
        return


def sweep(run_id: str, grace_s: float) -> list[int]:
    """End every process that carries the marker. Returns the pids that survived even SIGKILL, normally none.

    The sweep is repeated up to five times, in case dying processes start new ones, as supervisors do.
    """
    for attempt in range(5):
        marked = find_marked(run_id)
        if not marked:
            return []
        _signal_all(marked, signal.SIGTERM if attempt == 0 and grace_s > 0 else signal.SIGKILL)
        _wait_gone(marked, grace_s if attempt == 0 else 5.0)
    return [process.pid for process in find_marked(run_id)]


def pss_bytes(process: psutil.Process) -> int:
    """Return the proportional set size in bytes (shared pages divided among users), or 0 if it cannot be read."""
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
    # psutil.wait_procs counts a zombie as alive, and the reaper of an orphan (a container's init) may take seconds.
    deadline = time.monotonic() + timeout_s
    while any(is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_S)  # noqa: TID251 -- the end of a process that is not our child can only be polled
    _children[:] = [child for child in _children if child.poll() is None]
