"""What the supervisor needs to know about a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


def _nothing() -> None:
    """Do nothing (the default hook)."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One server process.

    Attributes:
        name: key in the state file, and stem of the log's file name.
        argv: command line, whose first item is an absolute path.
        address: the address given to clients.
        port: the port on loopback that it listens on.
        is_ready: returns whether the service answers its protocol on `port`. Must neither raise nor take over a second.
        env: variables added to the cluster's common environment.
        prepare: called before every start to write generated files.
        after_start: called once the service answers, before it counts as started.
        cwd: working folder.
        grace_s: time between SIGTERM and SIGKILL, in seconds.
    """

    name: str
    argv: tuple[str, ...]
    address: str
    port: int
    is_ready: Callable[[], bool]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    prepare: Callable[[], None] = _nothing
    after_start: Callable[[], None] = _nothing
    grace_s: float = 10.0
