"""Computes a fingerprint of the code that replicas run. When it changes, `up` must replace them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cluster.services.processes import PROJECT_ROOT

REPLICA_PACKAGES = ("autoscaling", "deployments", "pipelines")


def source_fingerprint(root: Path = PROJECT_ROOT) -> str:
    """Return a digest of the names and contents of all Python files that replicas import."""
    digest = hashlib.sha256()
    for package in REPLICA_PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
