"""Ray's Jobs REST API, on the head's dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from cluster.services.errors import ServiceError

_PATH = "/api/jobs/"
ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as known to Ray. `status` is Ray's term, and `exit_code` is None if none was reported."""

    job: str
    status: str
    message: str
    exit_code: int | None
    started_at_s: float
    metadata: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


class JobsApi:
    """A blocking client of one cluster's jobs, for use by one thread. Close it, or use it in a `with` statement."""

    def __init__(self, dashboard_url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=dashboard_url, headers=headers, timeout=60.0, trust_env=False)

    def __enter__(self) -> JobsApi:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def submit(self, job: str, entrypoint: str, variables: Mapping[str, str], metadata: Mapping[str, str]) -> None:
        """Start the shell command `entrypoint` on the cluster under the id `job`."""
        body = {
            "submission_id": job,
            "entrypoint": entrypoint,
            "runtime_env": {"env_vars": dict(variables)},
            "metadata": dict(metadata),
        }
        self._call("POST", _PATH, body)

    def state(self, job: str) -> JobState | None:
        """Return a job, or None if Ray does not know it. Ray's records end with the cluster."""
        answer = self._call("GET", f"{_PATH}{job}", allow_missing=True)
        return None if answer is None else _state(answer.json())

    def all(self) -> list[JobState]:
        """Return the submitted jobs, newest first."""
        answer = self._call("GET", _PATH)
        assert answer is not None
        states = [_state(item) for item in answer.json() if item.get("submission_id")]
        return sorted(states, key=lambda state: -state.started_at_s)

    def logs(self, job: str) -> str:
        """Return the output of a job so far."""
        answer = self._call("GET", f"{_PATH}{job}/logs", allow_missing=True)
        return "" if answer is None else str(answer.json().get("logs") or "")

    def stop(self, job: str) -> None:
        """Ask a job to end, without waiting."""
        self._call("POST", f"{_PATH}{job}/stop")

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, allow_missing: bool = False
    ) -> httpx.Response | None:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            how = type(error).__name__
            raise ServiceError("ray", f"its jobs cannot be reached ({how}); is the cluster up?") from error
        if answer.status_code == 404 and allow_missing:
            return None
        if answer.is_error:
            raise ServiceError("ray", f"refused the request about jobs ({answer.status_code}): {answer.text[:500]}")
        return answer


def _state(item: Mapping[str, Any]) -> JobState:
    return JobState(
        job=str(item.get("submission_id") or ""),
        status=str(item["status"]),
        message=str(item.get("message") or ""),
        exit_code=item.get("driver_exit_code"),
        started_at_s=float(item.get("start_time") or 0) / 1000,
        metadata=dict(item.get("metadata") or {}),
    )
