"""Allows one job at a time per collection, wherever jobs run. A killed job does not block the next one for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
import redis.exceptions
import redis.lock
from filelock import FileLock, Timeout

from deployments.stores.redis import redis_errors
from pipelines.errors import CapacityError

_LEASE_S = 20.0


@contextmanager
def exclusive(name: str, *, client: redis.Redis | None, folder: Path | None, wait_s: float) -> Iterator[None]:
    """Hold the lock `name` in Redis (a lease renewed by a thread), else as a file in `folder`, else not at all.

    Raises:
        CapacityError: another process still holds the lock after `wait_s`.
    """
    if client is not None:
        with _leased(name, client, wait_s):
            yield
    elif folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with FileLock(folder / f"{name}.lock", timeout=wait_s):
                yield
        except Timeout as error:
            raise _busy(name) from error
    else:
        yield


@contextmanager
def _leased(name: str, client: redis.Redis, wait_s: float) -> Iterator[None]:
    lock = redis.lock.Lock(client, f"voxray:lock:{name}", timeout=_LEASE_S, thread_local=False)
    deadline = time.monotonic() + wait_s
    with redis_errors("cannot be reached for the job's lock"):
        if not lock.acquire(blocking_timeout=max(0.0, deadline - time.monotonic())):
            raise _busy(name)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(_LEASE_S / 3):
            with suppress(redis.exceptions.RedisError):
                lock.reacquire()

    renewer = threading.Thread(target=renew, name="ingest-lease", daemon=True)
    renewer.start()
    try:
        yield
    finally:
        ended.set()
        renewer.join()
        with suppress(redis.exceptions.RedisError):
            lock.release()


def _busy(name: str) -> CapacityError:
    return CapacityError(f"another job works on {name}: `voxray ingest list` shows it; try again when it has ended")
