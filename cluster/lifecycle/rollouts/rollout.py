"""Submits the applications and watches them until they serve, or until it is clear that they will not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live

from cluster.lifecycle.ray.serve_api import ServeApi
from cluster.lifecycle.rollouts.deployment import (
    ApplicationProgress,
    DeploymentProgress,
    applications_of,
    read_progress,
)
from cluster.lifecycle.steps import progress_line, progress_table
from cluster.services.errors import ServiceError
from cluster.services.supervisor import tail

POLL_S = 0.5
# Serve replaces a dead replica within seconds, so a replica that dies meanwhile must not fail the roll-out.
UNHEALTHY_PATIENCE_S = 60.0
LOG_LINES = 25


class Rollout:
    """One submission.

    Args:
        api: the cluster's Serve.
        ray_logs: the head's log folder, which is searched for a failed replica's log.
        console: console on which progress is shown.
    """

    def __init__(self, api: ServeApi, ray_logs: Path, console: Console) -> None:
        self._api = api
        self._applications: tuple[str, ...] = ()
        self._ray_logs = ray_logs
        self._console = console
        self._started = time.monotonic()
        self._seconds: dict[str, float] = {}
        self._shown: dict[str, str] = {}
        self._unhealthy_since = 0.0

    def submit_and_wait(self, rendered: Mapping[str, Any], timeout_s: float) -> ApplicationProgress:
        """Deploy `rendered` and return when all its deployments are healthy.

        Raises:
            ServiceError: a deployment failed (with its reason and the end of its replica's log), or time ran out.
        """
        self._started = time.monotonic()
        self._applications = applications_of(rendered)
        self._api.deploy(rendered)
        if not self._console.is_terminal:
            return self._watch(timeout_s, self._print_changes)
        with Live(console=self._console, refresh_per_second=4) as live:
            return self._watch(timeout_s, lambda progress: live.update(progress_table(progress, self._seconds)))

    def _watch(self, timeout_s: float, show: Callable[[ApplicationProgress], None]) -> ApplicationProgress:
        progress = ApplicationProgress("NOT_STARTED", "", ())
        while self._elapsed_s() < timeout_s:
            progress = read_progress(self._api.status(), self._applications)
            self._count(progress)
            show(progress)
            if not progress.failure:
                self._unhealthy_since = 0.0
            elif not self._may_recover(progress):
                raise self._failed(progress)
            if progress.is_running:
                return progress
            time.sleep(POLL_S)  # noqa: TID251 -- Serve has no way to wait for a deployment
        late = _waiting_for(progress)
        raise ServiceError("serve", f"not running after {timeout_s:g} s (ray.deploy_timeout_s): {late}")

    def _may_recover(self, progress: ApplicationProgress) -> bool:
        if progress.state != "UNHEALTHY":
            return False
        self._unhealthy_since = self._unhealthy_since or self._elapsed_s()
        return self._elapsed_s() - self._unhealthy_since < UNHEALTHY_PATIENCE_S

    def _count(self, progress: ApplicationProgress) -> None:
        for line in progress.deployments:
            if line.state != "HEALTHY" or line.name not in self._seconds:
                self._seconds[line.name] = self._elapsed_s()

    def _print_changes(self, progress: ApplicationProgress) -> None:
        for line in progress.deployments:
            if self._shown.get(line.name) != line.state:
                self._shown[line.name] = line.state
                self._console.print(progress_line(line, self._seconds[line.name]), soft_wrap=True, markup=False)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def _failed(self, progress: ApplicationProgress) -> ServiceError:
        log = next((found for line in progress.deployments for found in self._log_of(line)), None)
        shown = f"\n{tail(log, LOG_LINES)}" if log else ""
        return ServiceError("serve", f"{progress.failure}{shown}", log=log or self._ray_logs / "serve")

    def _log_of(self, line: DeploymentProgress) -> list[Path]:
        if line.state not in ("DEPLOY_FAILED", "UNHEALTHY"):
            return []
        paths = [self._ray_logs / log.lstrip("/") for log in line.log_files]
        return [path for path in paths if path.exists()]


def wait_for_ingress(http_url: str, timeout_s: float) -> None:
    """Wait until the ingress passes requests on. Serve reports "running" slightly before HAProxy knows the replicas.

    Raises:
        ServiceError: it does not do so within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    answer = "no answer"
    while time.monotonic() < deadline:
        try:
            response = httpx.get(f"{http_url}/-/healthz", timeout=2.0, trust_env=False)
            if response.is_success:
                return
            answer = f"{response.status_code} {response.text[:200]}"
        except httpx.HTTPError as error:
            answer = repr(error)
        time.sleep(POLL_S)  # noqa: TID251 -- HAProxy's health checks can only be polled
    raise ServiceError("ingress", f"{http_url} does not pass requests on after {timeout_s:g} s: {answer}")


def _waiting_for(progress: ApplicationProgress) -> str:
    late = [line for line in progress.deployments if line.state != "HEALTHY" or line.running < line.wanted]
    return "; ".join(f"{line.name} {line.state.lower()} {line.message}".strip() for line in late) or progress.state
