"""Failures to start, stop or reach the parts of a cluster."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import VoxrayError


class ServiceError(VoxrayError):
    """A local service, the Ray head or the deployed application is not in the required state.

    Attributes:
        service: the part that failed ("redis", "milvus", "ray" or "serve").
        log: the log file with details, or None.
    """

    def __init__(self, service: str, message: str, *, log: Path | None = None) -> None:
        super().__init__(f"{service}: {message}" + (f"\n  log: {log}" if log else ""))
        self.service = service
        self.log = log


class LockHeldError(ServiceError):
    """Another `voxray` process is changing the cluster of this state folder."""
