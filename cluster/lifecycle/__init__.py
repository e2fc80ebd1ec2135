"""The lifecycle of a local cluster: `up`, `down`, `attach` and `services_only`, and the addresses they return."""

from cluster.lifecycle.addresses import ClusterState
from cluster.lifecycle.cluster import attach, down, services_only, up

__all__ = ["ClusterState", "attach", "down", "services_only", "up"]
