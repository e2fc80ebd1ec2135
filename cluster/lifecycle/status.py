"""Reports what is running, where, and its health, without changing anything."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle.layout import Layout, folder_of, lay_out, state_of
from cluster.lifecycle.ray.head import ensure_token
from cluster.lifecycle.ray.serve_api import ServeApi
from cluster.lifecycle.rollouts.deployment import read_progress
from cluster.services.errors import ServiceError
from cluster.services.external import probe_milvus, probe_redis, probe_sql
from cluster.services.processes import find_marked, pss_bytes, uptime_s
from cluster.services.sqlite_file import is_sqlite_ready
from cluster.services.supervisor import Supervisor

UP = "up"
DOWN = "down"


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One line of the table. `state` is "up", "down" or a problem. None means unknown or not applicable."""

    name: str
    state: str
    pid: int | None = None
    address: str = ""
    uptime_s: float | None = None
    pss_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The whole table, and the memory of all our processes, including those without a line."""

    rows: tuple[StatusRow, ...]
    total_pss_bytes: int

    @property
    def exit_code(self) -> int:
        """Exit code: 0 all is up, 3 nothing is running, 4 something is down or not as it should be."""
        if all(row.state == UP for row in self.rows):
            return 0
        return 4 if self.total_pss_bytes else 3


def look(config: VoxrayConfig) -> ClusterStatus:
    """Return the current status of a configuration's cluster."""
    folder = folder_of(config)
    supervisor = Supervisor(folder, is_observer=True)
    layout = lay_out(config, folder, supervisor)
    memory = {process.pid: pss_bytes(process) for process in find_marked(folder.run_id)}
    rows = [*_external_rows(config), _sql_row(config)]
    serve_rows: list[StatusRow] = []
    for spec in layout.all:
        health = supervisor.health(spec)
        if health.process is None:
            rows.append(StatusRow(spec.name, DOWN, address=spec.address))
            continue
        state = UP if health.is_ready else "no answer"
        if spec is layout.head:
            serve_rows = _serve_rows(config, layout, memory) if health.is_ready else []
        pid = health.process.pid
        used = memory.get(pid, 0)
        rows.append(StatusRow(spec.name, state, pid, spec.address, uptime_s(health.process), used))
    if serve_rows:
        rows[-1] = _with_rest(rows[-1], rows, serve_rows, memory)
    return ClusterStatus((*rows, *(serve_rows or [StatusRow("application", DOWN)])), sum(memory.values()))


def look_elsewhere(dashboard_url: str, token: str) -> ClusterStatus:
    """Return the status of an application on other machines, whose memory is not known from here."""
    with ServeApi(dashboard_url, token) as api:
        answer = api.status()
    progress = read_progress(answer, answer.get("applications", {}))
    rows = [StatusRow("application", UP if progress.is_running else progress.state.lower(), address=dashboard_url)]
    for line in progress.deployments:
        state = UP if line.state == "HEALTHY" and line.running >= line.wanted else line.state.lower()
        rows.append(StatusRow(line.name, f"{state} {line.running}/{line.wanted}" if state != UP else UP))
    return ClusterStatus(tuple(rows), 1)


def _with_rest(
    head: StatusRow, rows: Iterable[StatusRow], serve: list[StatusRow], memory: Mapping[int, int]
) -> StatusRow:
    # Ray's side processes have no lines of their own, so their memory is counted at the head.
    elsewhere = sum(row.pss_bytes or 0 for row in (*rows, *serve) if row is not head)
    return StatusRow(head.name, head.state, head.pid, head.address, head.uptime_s, sum(memory.values()) - elsewhere)


def _external_rows(config: VoxrayConfig) -> list[StatusRow]:
    services, environment = config.services, process_environment()
    rows: list[StatusRow] = []
    if services.redis.url:
        rows.append(_probed("redis", services.redis.url, lambda: probe_redis(services.redis, environment)))
    if services.milvus.uri:
        rows.append(_probed("milvus", services.milvus.uri, lambda: probe_milvus(services.milvus, environment)))
    return rows


def _sql_row(config: VoxrayConfig) -> StatusRow:
    if config.services.sql.url:
        return _probed("sql", "services.sql.url", lambda: probe_sql(config.services.sql.url))
    path = folder_of(config).sqlite_file
    return StatusRow("sql", UP if is_sqlite_ready(path) else DOWN, address=str(path))


def _probed(name: str, address: str, probe: Any) -> StatusRow:
    try:
        probe()
    except ServiceError:
        return StatusRow(name, "no answer", address=address)
    return StatusRow(name, UP, address=address)


def _serve_rows(config: VoxrayConfig, layout: Layout, memory: Mapping[int, int]) -> list[StatusRow]:
    folder = folder_of(config)
    state = state_of(config, folder, layout)
    try:
        with ServeApi(state.dashboard_url, ensure_token(folder.token_file)) as api:
            answer = api.status()
    except ServiceError:
        return [StatusRow("application", "no answer")]
    applications = answer.get("applications", {})
    progress = read_progress(answer, applications)
    if not progress.deployments:
        return []
    details = {
        name: found for application in applications.values() for name, found in application["deployments"].items()
    }
    return [
        StatusRow("ingress", UP if progress.is_running else progress.state.lower(), address=state.ws_url),
        *(
            row
            for line in progress.deployments
            for row in _replica_rows(line.name, line.state, details[line.name], memory)
        ),
    ]


def _replica_rows(name: str, state: str, details: Mapping[str, Any], memory: Mapping[int, int]) -> list[StatusRow]:
    replicas = details.get("replicas", [])
    if not replicas:
        return [StatusRow(name, state.lower())]
    rows: list[StatusRow] = []
    for replica in replicas:
        pid = replica.get("pid")
        is_up = replica.get("state") == "RUNNING" and state == "HEALTHY"
        started = float(replica.get("start_time_s") or time.time())
        pss = sum(memory.get(member, 0) for member in _family(pid))
        rows.append(StatusRow(name, UP if is_up else state.lower(), pid, "", max(0.0, time.time() - started), pss))
    return rows


def _family(pid: int | None) -> list[int]:
    """Return a process and its descendants, since an engine's processes count towards its replica."""
    if pid is None:
        return []
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.Error:
        return []
