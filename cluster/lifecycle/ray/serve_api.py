"""Ray Serve's REST API, on the head's dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from cluster.services.errors import ServiceError

_PATH = "/api/serve/applications/"
ATTEMPTS = 3


class ServeFailedError(ServiceError):
    """Serve's REST API failed internally. Another try may succeed."""


class ServeApi:
    """A blocking client of one cluster's Serve, for use by one thread. Close it, or use it in a `with` statement."""

    def __init__(self, dashboard_url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # The first PUT starts Serve's controller, whose imports take many seconds on a small machine.
        self._client = httpx.Client(base_url=dashboard_url, headers=headers, timeout=120.0, trust_env=False)

    def __enter__(self) -> ServeApi:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def deploy(self, rendered: Mapping[str, Any]) -> None:
        """Submit a configuration. Returns when Serve has accepted it, long before it is running.

        The configuration is submitted again after a server error. While Serve starts on a busy machine, its deadlines
        for its proxies may expire and it replaces them. Submitting the same configuration twice has no further effect.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                self._call("PUT", rendered)
            except ServeFailedError:
                continue
            return
        self._call("PUT", rendered)

    def status(self) -> dict[str, Any]:
        """Return Serve's report on all applications."""
        response = self._call("GET", None)
        result: dict[str, Any] = response.json()
        return result

    def delete(self) -> None:
        """Shut Serve down in an orderly way, with replicas draining first. Blocks until the controller has ended."""
        self._call("DELETE", None)

    def _call(self, method: str, body: Mapping[str, Any] | None) -> httpx.Response:
        try:
            response = self._client.request(method, _PATH, json=body)
        except httpx.HTTPError as error:
            raise ServiceError("serve", f"the head does not answer: {error!r}") from error
        if response.is_server_error:
            raise ServeFailedError("serve", f"{method} failed ({response.status_code}): {response.text[-2000:]}")
        if response.is_error:
            raise ServiceError("serve", f"{method} was refused ({response.status_code}): {response.text[:2000]}")
        return response
