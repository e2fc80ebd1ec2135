"""Finds and follows the logs of services, of Ray and of replicas."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.services.folder import StateFolder

FOLLOW_POLL_S = 0.25


def log_files(folder: StateFolder) -> dict[str, Path]:
    """Return every log by its common name: services first, then Serve's, then each deployment's newest replica."""
    found = {path.stem: path for path in sorted(folder.logs.glob("*.log"))}
    serve = folder.ray / "session_latest" / "logs" / "serve"
    for path in sorted(serve.glob("*.log"), key=lambda log: log.stat().st_mtime):
        found[_people_name(path.stem)] = path
    return found


def _people_name(stem: str) -> str:
    # replica_APPLICATION_DEPLOYMENT_ID, controller_PID, haproxy_ADDRESS, proxy_ADDRESS
    kind, *more = stem.split("_")
    return more[1] if kind == "replica" and len(more) > 1 else kind


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last `count` lines of a log."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in file.readlines()[-count:]]


def follow(path: Path) -> Iterator[str]:
    """Yield lines as they are written from now on, without end. After a rotation it continues with the new file."""
    file = path.open(encoding="utf-8", errors="replace")
    file.seek(0, 2)
    try:
        while True:
            line = file.readline()
            if line:
                yield line.rstrip("\n")
                continue
            if path.exists() and path.stat().st_ino != _inode(file.fileno()):
                file.close()
                file = path.open(encoding="utf-8", errors="replace")
                continue
            time.sleep(FOLLOW_POLL_S)  # noqa: TID251 -- a file has no portable way to wait for its next line
    finally:
        file.close()


def _inode(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino
