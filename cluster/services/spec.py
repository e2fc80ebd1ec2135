"""What the supervisor must know of a service."""

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
        name: key in the state file and stem of the log's name.
        argv: command line; the first item is an absolute path.
        address: what clients are told.
        port: the port it listens on, on loopback.
        is_ready: true when the service answers its own protocol on `port`; must not raise nor take over a second.
        env: added to the cluster's common environment.
        prepare: writes generated files; called before every start.
        after_start: called once the service answers, before it counts as started.
        cwd: working folder.
        grace_s: time between SIGTERM and SIGKILL.
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
