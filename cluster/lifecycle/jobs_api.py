"""Ray's Jobs REST API, on the head's dashboard: runs a command in the cluster and reads what it prints."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx

from cluster.services.errors import ServiceError

ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})


class JobsApi:
    """A client of one cluster's jobs. Blocking; close it, or use it in a `with`."""

    def __init__(self, dashboard_url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=dashboard_url, headers=headers, timeout=60.0, trust_env=False)

    def __enter__(self) -> JobsApi:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._client.close()

    def submit(self, command: str, variables: dict[str, str]) -> str:
        """Start a command on the head; return the job's id. It takes no CPU of the cluster's count."""
        body = {"entrypoint": command, "runtime_env": {"env_vars": variables}, "entrypoint_num_cpus": 0}
        identity: str = self._call("POST", "/api/jobs/", body)["submission_id"]
        return identity

    def state(self, job: str) -> str:
        """Return the job's state, as Ray names it."""
        return str(self._call("GET", f"/api/jobs/{job}", None)["status"])

    def printed(self, job: str) -> str:
        """Return all that the job has printed so far."""
        return str(self._call("GET", f"/api/jobs/{job}/logs", None).get("logs") or "")

    def stop(self, job: str) -> None:
        """End the job."""
        self._call("POST", f"/api/jobs/{job}/stop", None)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ServiceError("jobs", f"the head does not answer: {error!r}") from error
        if response.is_error:
            raise ServiceError("jobs", f"{method} {path} was refused ({response.status_code}): {response.text[:2000]}")
        result: dict[str, Any] = response.json()
        return result
