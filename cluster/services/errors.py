"""Failures of starting, stopping or reaching what the cluster is made of."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import VoxrayError


class ServiceError(VoxrayError):
    """A local service, the Ray head or the deployed application is not as it must be.

    Attributes:
        service: which one ("redis", "milvus", "ray", "serve").
        log: the file that tells more, or None.
    """

    def __init__(self, service: str, message: str, *, log: Path | None = None) -> None:
        super().__init__(f"{service}: {message}" + (f"\n  log: {log}" if log else ""))
        self.service = service
        self.log = log


class LockHeldError(ServiceError):
    """Another `voxray` process is changing the cluster of this state folder."""
