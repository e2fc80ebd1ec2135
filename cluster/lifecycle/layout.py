"""Determines which processes a configuration requires, and where they listen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.config.paths import resolve_paths
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle.addresses import ClusterState
from cluster.lifecycle.ray.head import PORT_NAMES, head_spec
from cluster.render.serve_config import ServeAddresses
from cluster.services.folder import StateFolder, open_state_folder
from cluster.services.milvus_server import milvus_spec
from cluster.services.ports import LOOPBACK
from cluster.services.processes import find_marked
from cluster.services.redis_server import redis_spec
from cluster.services.spec import ServiceSpec
from cluster.services.sqlite_file import sqlite_url
from cluster.services.supervisor import Supervisor
from pipelines.errors import ConfigError

REALTIME_PATH = "/v1/realtime"
_WILDCARDS = frozenset({"0.0.0.0", "::", "*", ""})


@dataclass(frozen=True, slots=True)
class Layout:
    """The processes of a local cluster: `services` in starting order, the head (None for services only) and ports."""

    services: tuple[ServiceSpec, ...]
    head: ServiceSpec | None
    ports: dict[str, int]

    @property
    def all(self) -> tuple[ServiceSpec, ...]:
        """All supervised processes, in starting order."""
        return (*self.services, *((self.head,) if self.head else ()))


def folder_of(config: VoxrayConfig) -> StateFolder:
    """Return the (created) state folder of a configuration."""
    return open_state_folder(resolve_paths(config).state)


def lay_out(config: VoxrayConfig, folder: StateFolder, supervisor: Supervisor, *, has_head: bool = True) -> Layout:
    """Choose ports and describe the processes. Nothing is started, but the ports are remembered.

    Raises:
        ConfigError: `ray.address` names a cluster that this command cannot deploy to.
    """
    if has_head and config.ray.address:
        raise ConfigError(
            f"ray.address = {config.ray.address!r}: this command starts a local head; a cluster that exists is "
            "changed by `voxray deploy` (on Kubernetes by the output of `voxray render kuberay`)"
        )
    names = [
        *(() if config.services.redis.url else ("redis",)),
        *(() if config.services.milvus.uri else ("milvus",)),
        *(PORT_NAMES if has_head else ()),
    ]
    configured = {"ray.http": config.ingress.port, "ray.dashboard": config.ray.dashboard_port}
    fixed = {name: port for name, port in configured.items() if port and name in names}
    ports = supervisor.choose_ports(names, fixed)
    services = (
        *((redis_spec(folder, ports["redis"]),) if "redis" in ports else ()),
        *((milvus_spec(folder, ports["milvus"]),) if "milvus" in ports else ()),
    )
    return Layout(services, head_spec(config, folder, ports) if has_head else None, ports)


def state_of(config: VoxrayConfig, folder: StateFolder, layout: Layout) -> ClusterState:
    """Return the addresses that clients use."""
    by_name = {spec.name: spec for spec in layout.all}
    # From this machine, a server on all interfaces is reached through loopback.
    host = LOOPBACK if config.ingress.host in _WILDCARDS else config.ingress.host
    ingress = f"{host}:{layout.ports['ray.http']}" if layout.head else ""
    services = config.services
    return ClusterState(
        http_url=f"http://{ingress}" if ingress else "",
        ws_url=f"ws://{ingress}{REALTIME_PATH}" if ingress else "",
        redis_url=services.redis.url or by_name["redis"].address,
        milvus_uri=services.milvus.uri or by_name["milvus"].address,
        sql_url=services.sql.url or sqlite_url(folder.sqlite_file),
        objects_url=services.objects.url or str(folder.objects),
        dashboard_url=f"http://{LOOPBACK}:{layout.ports['ray.dashboard']}" if layout.head else "",
        ray_address=layout.head.address if layout.head else "",
        token_path=folder.token_file,
        state_folder=folder.root,
    )


def serve_addresses(state: ClusterState, layout: Layout, models: dict[str, str], agents_folder: Path) -> ServeAddresses:
    """Return the addresses that the rendered Serve configuration needs from a running cluster."""
    return ServeAddresses(
        redis_url=state.redis_url,
        milvus_uri=state.milvus_uri,
        sql_url=state.sql_url,
        objects_url=state.objects_url,
        http_port=layout.ports["ray.http"],
        agents_folder=str(agents_folder),
        models=models,
    )


def with_resolved_paths(config: VoxrayConfig) -> VoxrayConfig:
    """Return a copy with absolute paths, since replicas have a different working directory."""
    paths = resolve_paths(config)
    resolved = config.paths.model_copy(
        update={"state": Path(paths.state).resolve(), "models": paths.models, "agents": paths.agents}
    )
    return config.model_copy(update={"paths": resolved})


def find_orphans(folder: StateFolder, known_pids: set[int]) -> list[psutil.Process]:
    """Return our processes that belong to no remembered service, left by a crash or a lost state file."""
    return [process for process in find_marked(folder.run_id) if not _belongs(process, known_pids)]


def _belongs(process: psutil.Process, known_pids: set[int]) -> bool:
    # A process belongs to a service by session (each service leads one, and HAProxy outlives the actor that started it)
    # or by descent (vLLM's children may lead their own sessions).
    try:
        return os.getsid(process.pid) in known_pids or any(parent.pid in known_pids for parent in process.parents())
    except (psutil.Error, OSError):
        return True  # it has just ended
