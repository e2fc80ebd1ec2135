"""The addresses of a running cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cluster.config.environment import process_environment
from cluster.lifecycle.ray.head import driver_environment
from cluster.services.processes import PROJECT_ROOT


@dataclass(frozen=True, slots=True)
class ClusterState:
    """Addresses of a running cluster. Those of Ray and the ingress are "" when only the services run.

    Attributes:
        http_url: base URL of the ingress, without a trailing slash.
        ws_url: the realtime WebSocket's URL.
        redis_url: URL of Redis, without the password.
        milvus_uri: URI of Milvus.
        sql_url: SQLAlchemy URL.
        objects_url: folder or s3:// URL of the object store.
        dashboard_url: URL of Ray's dashboard, which includes the Jobs API.
        ray_address: HOST:PORT of the head.
        token_path: file with the token of the Ray cluster.
        state_folder: root of the state folder.
    """

    http_url: str
    ws_url: str
    redis_url: str
    milvus_uri: str
    sql_url: str
    objects_url: str
    dashboard_url: str
    ray_address: str
    token_path: Path
    state_folder: Path

    def ray_environment(self) -> dict[str, str]:
        """Return the variables that a driver needs to join (`ray.init(address=...)`) or a client needs to submit jobs.

        They must be set before Ray is imported. Replicas and jobs find our packages through PYTHONPATH.
        """
        return {
            **driver_environment(self.token_path, self.ray_address),
            "RAY_API_SERVER_ADDRESS": self.dashboard_url,
            "PYTHONPATH": os.pathsep.join(
                dict.fromkeys(
                    [str(PROJECT_ROOT), *filter(None, process_environment().get("PYTHONPATH", "").split(os.pathsep))]
                )
            ),
        }

    def token(self) -> str:
        """Return the token for Ray's REST APIs (header `Authorization: Bearer TOKEN`)."""
        return self.token_path.read_text(encoding="ascii").strip()
