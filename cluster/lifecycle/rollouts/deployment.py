"""Interprets Ray Serve's report on an application. Pure: takes plain data and returns values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FAILED_STATES = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})


@dataclass(frozen=True, slots=True)
class DeploymentProgress:
    """One deployment: Serve's state and message, and the numbers of running and wanted replicas."""

    name: str
    state: str
    message: str
    running: int
    wanted: int
    log_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplicationProgress:
    """One application, or several combined by `together`.

    `state` is Serve's state, or "NOT_STARTED" if Serve does not know the application (yet).
    """

    state: str
    message: str
    deployments: tuple[DeploymentProgress, ...]

    @property
    def is_running(self) -> bool:
        """Whether it serves with all wanted replicas."""
        return self.state == "RUNNING" and all(line.running >= line.wanted for line in self.deployments)

    @property
    def failure(self) -> str:
        """Why it will not come up without a change, in Serve's words; "" while it still may.

        The application's state decides, because right after a submission the deployments still show the previous
        failure.
        """
        if self.state not in FAILED_STATES:
            return ""
        failed = [line for line in self.deployments if line.state in FAILED_STATES]
        return "\n".join(f"{line.name}: {line.message or line.state}" for line in failed) or self.message or self.state


def read_progress(status: Mapping[str, Any], applications: Iterable[str]) -> ApplicationProgress:
    """Parse the answer of `GET /api/serve/applications/` and return the combined progress of these applications."""
    return together([_read_application(status, name) for name in applications])


def together(found: Sequence[ApplicationProgress]) -> ApplicationProgress:
    """Combine several applications into one, which has failed if one has, and is running if all are."""
    states = [application.state for application in found]
    worst = next((state for state in states if state in FAILED_STATES), None)
    state = worst or next((state for state in states if state != "RUNNING"), "RUNNING" if states else "NOT_STARTED")
    messages = [application.message for application in found if application.message and application.state == state]
    return ApplicationProgress(state, "\n".join(messages), tuple(line for each in found for line in each.deployments))


def applications_of(rendered: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the applications of a rendered configuration."""
    return tuple(application["name"] for application in rendered["applications"])


def _read_application(status: Mapping[str, Any], application: str) -> ApplicationProgress:
    details = status.get("applications", {}).get(application)
    if details is None:
        return ApplicationProgress("NOT_STARTED", "", ())
    lines = tuple(_read_deployment(name, found) for name, found in sorted(details.get("deployments", {}).items()))
    return ApplicationProgress(details.get("status", "NOT_STARTED"), details.get("message", ""), lines)


def _read_deployment(name: str, details: Mapping[str, Any]) -> DeploymentProgress:
    replicas = details.get("replicas", [])
    logs = [replica.get("log_file_path") for replica in [*details.get("recent_dead_replicas", []), *replicas]]
    return DeploymentProgress(
        name=name,
        state=details.get("status", ""),
        message=details.get("message", ""),
        running=sum(1 for replica in replicas if replica.get("state") == "RUNNING"),
        wanted=int(details.get("target_num_replicas", 0)),
        log_files=tuple(log for log in logs if log),
    )
