"""The gateway as a deployment."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from autoscaling.ray_adapter import ROUTE_PLACE
from cluster.config.environment import process_environment, secret
from cluster.config.parts import GatewayPart
from deployments.gateway.access import Access
from deployments.gateway.admission import Admission
from deployments.gateway.asgi import create_app
from deployments.gateway.knowledge import change_feed
from deployments.gateway.opening import service_opener
from deployments.gateway.service import GatewayService, LiveSettings
from deployments.pools.handles import HandleConnector


class Gateway:
    """Holds the sockets. Its application is created in the replica, on the event loop that serves it.

    Args:
        part: the part of the configuration that a gateway reads.
    """

    def __init__(self, part: GatewayPart) -> None:
        self._part = part
        self._admission = Admission(part.gateway.max_calls)
        self._app: FastAPI | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Create the application that Serve's ingress runs (the hook of `serve.ingress(None)`)."""
        name = self._part.gateway.api_key_env
        access = Access(secret(process_environment(), name, needed_by="gateway.api_key_env"), name)
        connect = HandleConnector(self._part.hearing, self._part.turn)
        feed = change_feed(self._part) if self._part.redis_url else None
        self._app = create_app(lambda: service_opener(self._part, connect, access, self._admission), feed)
        return self._app

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply settings that may change during calls. Open calls continue with the settings they began with.

        Serve calls this once after the application has started, and again after every change.
        """
        await self._service.tell(LiveSettings.model_validate(user_config))

    async def open_calls(self, application: str = "") -> int:
        """Return how many calls this replica holds.

        Args:
            application: counts only the calls that hold this application's pool; "" counts all.
        """
        return self._service.pools.calls_of(application) if application else self._service.admission.calls

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return the counts of calls, and the order in which pools are filled where a route names several."""
        places = self._service.pools.route_places()
        return self._admission.stats() | {f"{ROUTE_PLACE}{name}": float(place) for name, place in places.items()}

    @property
    def _service(self) -> GatewayService:
        assert self._app is not None
        service: GatewayService = self._app.state.service
        return service
