"""Names and labels that the manifests share."""

from __future__ import annotations

from typing import Any

from cluster.config.schema import VoxrayConfig

HEAD = "head"
# The Terraform node group for operators, for name resolution and for the head.
SYSTEM_NODES = "system"
CONFIG_MOUNT = "/etc/voxray"
AGENTS_MOUNT = "/etc/voxray-agents"
DEFAULT_INGRESS_PORT = 8000


def metadata(config: VoxrayConfig, suffix: str = "") -> dict[str, Any]:
    """Return the metadata of an object of this cluster."""
    name = f"{config.topology.name}-{suffix}" if suffix else config.topology.name
    return {"name": name, "namespace": config.topology.namespace, "labels": own_labels(config)}


def own_labels(config: VoxrayConfig) -> dict[str, str]:
    """Return the labels of everything in this cluster, on which selectors match."""
    return {"app.kubernetes.io/name": "voxray", "app.kubernetes.io/instance": config.topology.name}


def ingress_port(config: VoxrayConfig) -> int:
    """Return the port of the ingress on every node."""
    return config.ingress.port or DEFAULT_INGRESS_PORT
