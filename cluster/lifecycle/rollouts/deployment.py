"""Reads Ray Serve's account of an application and judges it. Pure: takes plain data, returns values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FAILED_STATES = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})


@dataclass(frozen=True, slots=True)
class DeploymentProgress:
    """One deployment: Serve's state and message, and how many replicas run of how many are wanted."""

    name: str
    state: str
    message: str
    running: int
    wanted: int
    log_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplicationProgress:
    """One application, or several together (`together`).

    `state` is Serve's, or "NOT_STARTED" when Serve does not know it (yet).
    """

    state: str
    message: str
    deployments: tuple[DeploymentProgress, ...]

    @property
    def is_running(self) -> bool:
        """Whether it serves, with all the replicas that are wanted."""
        return self.state == "RUNNING" and all(line.running >= line.wanted for line in self.deployments)

    @property
    def failure(self) -> str:
        """Why it will not come up without a change, in Serve's own words; "" while there is hope.

        The application's state decides: right after a new submission the deployments still show the last one's failure.
        """
        if self.state not in FAILED_STATES:
            return ""
        failed = [line for line in self.deployments if line.state in FAILED_STATES]
        return "\n".join(f"{line.name}: {line.message or line.state}" for line in failed) or self.message or self.state


def read_progress(status: Mapping[str, Any], applications: Iterable[str]) -> ApplicationProgress:
    """Read the answer of `GET /api/serve/applications/`: how all of these applications are together."""
    return together([_read_application(status, name) for name in applications])


def together(found: Sequence[ApplicationProgress]) -> ApplicationProgress:
    """Return several applications as one: failed when one has failed, running when all are."""
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
