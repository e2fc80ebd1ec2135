"""The lock of a state folder, which allows one change at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from cluster.services.errors import LockHeldError
from cluster.services.state import write_atomically

SOON_S = 0.3


@contextmanager
def exclusive(run_folder: Path, what: str, wait_s: float, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a state folder. The kernel frees it when the process ends, however that happens.

    Args:
        run_folder: the `run` folder of the state folder.
        what: what the holder is doing ("up"), shown to those who wait.
        wait_s: how long to wait for another holder, in seconds.
        tell: called once with the holder of the lock if it is not free at once.

    Raises:
        LockHeldError: the lock is still held after `wait_s`.
    """
    lock = filelock.FileLock(run_folder / "lock", thread_local=False)
    holder_file = run_folder / "lock.json"
    try:
        lock.acquire(timeout=min(SOON_S, wait_s))
    except filelock.Timeout:
        tell(f"waiting for {_holder(holder_file)}, which is changing this cluster")
        try:
            lock.acquire(timeout=wait_s)
        except filelock.Timeout:
            raise LockHeldError("cluster", f"{_holder(holder_file)} is still changing it after {wait_s:g} s") from None
    try:
        write_atomically(holder_file, json.dumps({"pid": os.getpid(), "what": what}))
        yield
    finally:
        holder_file.unlink(missing_ok=True)
        lock.release()


def _holder(holder_file: Path) -> str:
    try:
        holder = json.loads(holder_file.read_text(encoding="utf-8"))
        return f"process {int(holder['pid'])} (voxray {holder['what']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another voxray process"
