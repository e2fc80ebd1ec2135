"""The TCP ports of a cluster's nodes, which network rules open and which a configured port must not take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PortRange:
    """A range of ports with both ends included, and what listens there."""

    name: str
    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


GCS = PortRange("Ray's GCS", 6379, 6379)
DASHBOARD = PortRange("Ray's dashboard and Serve's REST API", 8265, 8265)
RAY_METRICS = PortRange("Ray's metrics", 8080, 8080)
FALLBACK_PROXY = PortRange("Serve's fallback proxy", 8500, 8500)
HAPROXY_STATISTICS = PortRange("HAProxy's statistics", 8404, 8404)
HAPROXY_METRICS = PortRange("HAProxy's metrics", 9101, 9101)
WORKERS = PortRange("Ray's workers", 10002, 19999)
REPLICA_HTTP = PortRange("Serve's replicas (HTTP)", 30000, 31000)
REPLICA_GRPC = PortRange("Serve's replicas (gRPC)", 40000, 41000)

NODE_PORTS = (
    GCS,
    DASHBOARD,
    RAY_METRICS,
    FALLBACK_PROXY,
    HAPROXY_STATISTICS,
    HAPROXY_METRICS,
    WORKERS,
    REPLICA_HTTP,
    REPLICA_GRPC,
)
METRICS_PORTS = (RAY_METRICS, HAPROXY_METRICS)
