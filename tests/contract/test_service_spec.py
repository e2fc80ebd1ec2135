"""What a service's description makes the supervisor do, with small real processes."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.services.errors import ServiceError
from cluster.services.folder import StateFolder, open_state_folder
from cluster.services.ports import is_port_open
from cluster.services.spec import ServiceSpec
from cluster.services.supervisor import Supervisor

pytestmark = pytest.mark.contract
LISTENS = """
import os, pathlib, signal, socket, sys
pathlib.Path("env").write_text(os.environ.get("GREETING", ""))
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    server.accept()[0].close()
"""
LONG_S = 60


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return open_state_folder(tmp_path / "state")


@pytest.fixture
def supervisor(folder: StateFolder) -> Iterator[Supervisor]:
    made = Supervisor(folder)
    yield made
    made.stop("echo", 0.1)


@pytest.fixture
def describe(tmp_path: Path) -> Callable[..., ServiceSpec]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]

    def spec(program: str = LISTENS, *arguments: str, **changes: Any) -> ServiceSpec:
        given = ServiceSpec(
            name="echo",
            argv=(sys.executable, "-c", program, str(port), *arguments),
            address=f"tcp://127.0.0.1:{port}",
            port=port,
            is_ready=lambda: is_port_open(port),
            cwd=tmp_path,
        )
        return replace(given, **changes)

    return spec


def test_description_of_what_must_be_known_is_enough(
    supervisor: Supervisor, describe: Callable[..., ServiceSpec], tmp_path: Path
) -> None:
    spec = describe()
    assert supervisor.ensure(spec, LONG_S)
    assert not supervisor.ensure(spec, LONG_S)
    health = supervisor.health(spec)
    assert health.is_ready
    assert health.address == spec.address
    assert (tmp_path / "env").read_text() == ""  # in the working folder, without variables of its own


def test_files_are_prepared_before_the_start_and_the_rest_is_done_once_it_answers(
    supervisor: Supervisor, describe: Callable[..., ServiceSpec], tmp_path: Path
) -> None:
    seen: list[tuple[str, bool]] = []
    port = describe().port
    spec = describe(
        env={"GREETING": "hello"},
        prepare=lambda: seen.append(("prepare", is_port_open(port))),
        after_start=lambda: seen.append(("after_start", is_port_open(port))),
    )
    supervisor.ensure(spec, LONG_S)
    assert seen == [("prepare", False), ("after_start", True)]
    assert (tmp_path / "env").read_text() == "hello"
    supervisor.ensure(spec, LONG_S)
    assert len(seen) == 2  # nothing was started


def test_service_that_ends_at_once_shows_the_end_of_its_log(
    supervisor: Supervisor, describe: Callable[..., ServiceSpec]
) -> None:
    with pytest.raises(ServiceError, match=r"(?s)echo: did not start: ended with code 3.*no room on the disk"):
        supervisor.ensure(describe("import sys; print('no room on the disk', flush=True); sys.exit(3)"), LONG_S)
    assert "echo" not in supervisor.state.processes


def test_failure_after_the_start_ends_the_process(supervisor: Supervisor, describe: Callable[..., ServiceSpec]) -> None:
    def fail() -> None:
        raise ServiceError("echo", "its collections cannot be loaded")

    spec = describe(after_start=fail)
    with pytest.raises(ServiceError, match="cannot be loaded"):
        supervisor.ensure(spec, LONG_S)
    assert not is_port_open(spec.port)
    assert "echo" not in supervisor.state.processes


def test_port_that_another_process_holds_is_named_with_its_holder(
    supervisor: Supervisor, describe: Callable[..., ServiceSpec]
) -> None:
    spec = describe()
    with (
        socket.create_server(("127.0.0.1", spec.port)),
        pytest.raises(ServiceError, match=f"port {spec.port} is taken"),
    ):
        supervisor.ensure(spec, LONG_S)


def test_service_that_does_not_listen_to_its_end_is_killed_after_its_grace(
    supervisor: Supervisor, describe: Callable[..., ServiceSpec]
) -> None:
    spec = describe(LISTENS, "deaf", grace_s=0.2)
    supervisor.ensure(spec, LONG_S)
    process = supervisor.health(spec).process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    assert process.is_running()
    assert supervisor.stop(spec.name, spec.grace_s)
    assert not psutil.pid_exists(process.pid) or process.status() == psutil.STATUS_ZOMBIE
