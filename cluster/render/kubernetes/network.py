"""Network policies that allow only what calls, operators and metrics scrapes need.

The policies of a namespace add up: the first closes everything, and each of the others opens one path.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from cluster.config.schema import VoxrayConfig
from cluster.render.kubernetes.names import ingress_port, metadata, own_labels
from cluster.render.ports import DASHBOARD, METRICS_PORTS

_NAMESPACE_LABEL = "kubernetes.io/metadata.name"
_DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "http": 80, "https": 443, "postgresql": 5432}
HTTPS = 443


def network_policies(config: VoxrayConfig) -> list[dict[str, Any]]:
    """Return the policies of a cluster's namespace."""
    network = config.topology.network
    policies = [
        _policy(config, "closed", {"policyTypes": ["Ingress", "Egress"]}),
        _policy(config, "among-nodes", _among_nodes(config)),
        _policy(config, "calls", _ingress([_cidr(cidr) for cidr in network.client_cidrs], [ingress_port(config)])),
        _policy(
            config,
            "operator",
            _ingress([_namespace(network.operator_namespace)], [DASHBOARD.first, ingress_port(config)]),
        ),
        _policy(
            config,
            "scrape",
            _ingress([_namespace(network.monitoring_namespace)], [ports.first for ports in METRICS_PORTS]),
        ),
        _policy(config, "names", _egress([{"namespaceSelector": {}}], [_port(53, "UDP"), _port(53, "TCP")])),
        _policy(
            config,
            "services",
            _egress([_cidr(cidr) for cidr in network.service_cidrs], [_port(port) for port in service_ports(config)]),
        ),
    ]
    return policies


def service_ports(config: VoxrayConfig) -> list[int]:
    """Return the ports of the configured services that nodes use, and HTTPS for the VPC's endpoints."""
    services = config.services
    ports = {HTTPS}
    for url in (services.redis.url, services.milvus.uri, services.sql.url):
        parts = urlsplit(url)
        ports.add(parts.port or _DEFAULT_PORTS.get(parts.scheme.partition("+")[0], HTTPS))
    return sorted(ports)


def _policy(config: VoxrayConfig, suffix: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(config, suffix),
        "spec": {"podSelector": {"matchLabels": own_labels(config)}, **spec},
    }


def _among_nodes(config: VoxrayConfig) -> dict[str, Any]:
    peers = [{"podSelector": {"matchLabels": own_labels(config)}}]
    # The raylet, the object manager and the agents use any free port, so nodes are open to each other.
    ports = [{"protocol": "TCP", "port": 1024, "endPort": 65535}]
    return {
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": peers, "ports": ports}],
        "egress": [{"to": peers, "ports": ports}],
    }


def _ingress(peers: list[dict[str, Any]], ports: list[int]) -> dict[str, Any]:
    # For Kubernetes an empty list of peers means everybody, whereas no rule at all means nobody.
    rules = [{"from": peers, "ports": [_port(port) for port in ports]}] if peers else []
    return {"policyTypes": ["Ingress"], "ingress": rules}


def _egress(peers: list[dict[str, Any]], ports: list[dict[str, Any]]) -> dict[str, Any]:
    return {"policyTypes": ["Egress"], "egress": [{"to": peers, "ports": ports}] if peers else []}


def _cidr(cidr: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr}}


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {_NAMESPACE_LABEL: name}}}


def _port(port: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"protocol": protocol, "port": port}
