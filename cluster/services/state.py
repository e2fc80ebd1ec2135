"""What a run remembers for the next one: ports, processes and the deployed configuration, in one JSON file."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.services.processes import ProcessRecord

VERSION = 1


@dataclass(frozen=True, slots=True)
class RunState:
    """Plain facts about the last run. They are not trusted: processes are looked up and ports are tried before use."""

    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, ProcessRecord] = field(default_factory=dict)
    deployed_hash: str = ""

    def with_ports(self, ports: dict[str, int]) -> RunState:
        """Return a copy that also remembers `ports`."""
        return dataclasses.replace(self, ports={**self.ports, **ports})

    def with_process(self, name: str, record: ProcessRecord | None) -> RunState:
        """Return a copy that remembers `record` under `name`, or forgets the name if the record is None."""
        processes = {key: value for key, value in self.processes.items() if key != name}
        if record is not None:
            processes[name] = record
        return dataclasses.replace(self, processes=processes)

    def with_deployed(self, deployed_hash: str) -> RunState:
        """Return a copy that remembers which rendered application runs ("" for none)."""
        return dataclasses.replace(self, deployed_hash=deployed_hash)


def parse_state(text: str) -> RunState:
    """Read a state file's text.

    Raises:
        ValueError: the text is not a state file of this version.
    """
    data: Any = json.loads(text)
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError(f"not a state file of version {VERSION}")
    try:
        ports = {str(name): int(port) for name, port in data["ports"].items()}
        processes = {
            str(name): ProcessRecord(int(record["pid"]), float(record["create_time"]))
            for name, record in data["processes"].items()
        }
        return RunState(ports, processes, str(data["deployed_hash"]))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"incomplete state file: {error!r}") from error


def load_state(path: Path, *, is_observer: bool = False) -> tuple[RunState, str]:
    """Return the state and a remark for the operator, which is "" when all is well.

    An unreadable file is not deleted but renamed to `.corrupt`. The next run starts from nothing, and the sweep finds
    the processes by their marker. An observer leaves the file where it is.
    """
    try:
        return parse_state(path.read_text(encoding="utf-8")), ""
    except FileNotFoundError:
        return RunState(), ""
    except (ValueError, OSError) as error:
        if is_observer:
            return RunState(), f"{path} is unreadable ({error})"
        aside = path.with_suffix(".corrupt")
        os.replace(path, aside)
        return RunState(), f"{path} was unreadable ({error}); put aside as {aside.name}, starting from nothing"


def save_state(path: Path, state: RunState) -> None:
    """Replace the file atomically, so that a reader or a crash sees either the old or the new one."""
    body = {
        "version": VERSION,
        "ports": state.ports,
        "processes": {name: dataclasses.asdict(record) for name, record in state.processes.items()},
        "deployed_hash": state.deployed_hash,
    }
    write_atomically(path, json.dumps(body, indent=2, sort_keys=True) + "\n")


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file with exactly `mode` by renaming, so that it is never incomplete or briefly readable by others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
