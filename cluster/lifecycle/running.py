"""A running cluster, local or elsewhere, as `deploy`, `drain` and `rollback` need it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cluster.catalog.progress import Progress
from cluster.config.environment import process_environment, secret
from cluster.config.paths import resolve_paths
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle.layout import Layout, folder_of, lay_out, serve_addresses, state_of, with_resolved_paths
from cluster.lifecycle.lock import exclusive
from cluster.lifecycle.models import fetch_models
from cluster.lifecycle.rollouts.history import DeploymentHistory, open_history
from cluster.lifecycle.source import source_fingerprint
from cluster.lifecycle.steps import Steps
from cluster.render.serve_config import IMPORT_PATH, configured_addresses, render_serve_config
from cluster.services.errors import ServiceError
from cluster.services.supervisor import Supervisor
from pipelines.errors import ConfigError

LOCK_WAIT_S = 900.0


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """What is known about a running cluster.

    Attributes:
        config: the configuration, with paths that replicas can use.
        dashboard_url: URL of the head's REST API.
        token: token for the REST API; "" for none.
        http_url: URL of the ingress; "" if this machine does not know it.
        logs: the head's log folder, if it is on this machine.
        history: the history of deployments.
        local: supervisor and layout of a local cluster; None for other clusters.
        job_variables: environment variables that a job on the head needs.
    """

    config: VoxrayConfig
    dashboard_url: str
    token: str
    http_url: str
    logs: Path
    history: DeploymentHistory
    local: tuple[Supervisor, Layout] | None = None
    job_variables: dict[str, str] = field(default_factory=dict)

    def rendered(self, import_path: str = IMPORT_PATH, progress: Progress | None = None) -> dict[str, Any]:
        """Render the configuration for this cluster. Weights that a local cluster lacks are fetched first."""
        if self.local is None:
            return render_serve_config(self.config, configured_addresses(self.config), import_path=import_path)
        supervisor, layout = self.local
        state = state_of(self.config, supervisor.folder, layout)
        addresses = serve_addresses(
            state, layout, fetch_models(self.config, progress), resolve_paths(self.config).agents
        )
        addresses = replace(addresses, http_port=self.config.ingress.port or addresses.http_port)
        return render_serve_config(self.config, addresses, import_path=import_path, build=source_fingerprint())

    def remember(self, fingerprint: str) -> None:
        """Record what is running for `voxray up`, which relies on that alone before it deploys."""
        if self.local is not None:
            self.local[0].remember_deployed(fingerprint)


@contextmanager
def running_cluster(config: VoxrayConfig, what: str, console: Console) -> Iterator[RunningCluster]:
    """Find the cluster of a configuration and, if it is local, prevent other changes until the end of the block.

    Raises:
        ServiceError: the local cluster is not running.
        ConfigError: the configuration does not say where the cluster is.
    """
    if config.ray.address:
        yield _elsewhere(config)
        return
    resolved = with_resolved_paths(config)
    folder = folder_of(resolved)
    with exclusive(folder.run, what, LOCK_WAIT_S, Steps(console).tell):
        supervisor = Supervisor(folder)
        # Ports are taken as they are, whatever the configuration says now, since they change only with a restart.
        layout = lay_out(_without_ports(resolved), folder, supervisor)
        if layout.head is None or not supervisor.health(layout.head).is_ready:
            raise ServiceError("ray", f"no cluster of {folder.root} runs; `voxray up` starts one")
        state = state_of(resolved, folder, layout)
        yield RunningCluster(
            config=resolved,
            dashboard_url=state.dashboard_url,
            token=state.token(),
            http_url=state.http_url,
            logs=folder.ray / "session_latest" / "logs",
            history=open_history(state.objects_url),
            local=(supervisor, layout),
            job_variables=_job_variables(state.ray_environment()),
        )


def _without_ports(config: VoxrayConfig) -> VoxrayConfig:
    ingress = config.ingress.model_copy(update={"port": 0})
    return config.model_copy(update={"ingress": ingress, "ray": config.ray.model_copy(update={"dashboard_port": 0})})


def head_of(config: VoxrayConfig) -> tuple[str, str]:
    """Return the REST address and the token of a cluster on other machines.

    Raises:
        ConfigError: the configuration does not give them.
    """
    if not config.ray.dashboard_url:
        raise ConfigError(
            "ray.dashboard_url is empty: the configuration is for a cluster that exists, and this command must know "
            "its head, for example VOXRAY__RAY__DASHBOARD_URL=http://HEAD:8265 (on Kubernetes apply "
            "`voxray render kuberay` instead of deploying: KubeRay would overwrite what is deployed)"
        )
    token = secret(process_environment(), config.ray.token_env, needed_by="ray.token_env")
    return config.ray.dashboard_url.rstrip("/"), token


def _elsewhere(config: VoxrayConfig) -> RunningCluster:
    dashboard_url, token = head_of(config)
    return RunningCluster(config, dashboard_url, token, "", Path(), open_history(config.services.objects.url))


def _job_variables(environment: Mapping[str, str]) -> dict[str, str]:
    # A job on the head already has its token and switches, and lacks only the path to our packages.
    return {"PYTHONPATH": environment["PYTHONPATH"]}
