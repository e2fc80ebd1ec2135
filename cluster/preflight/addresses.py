"""Checks whether ports, service addresses and network rules can be right, without connecting to anything."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from cluster.preflight.finding import Finding, Inspection, Rule
from cluster.render.ports import NODE_PORTS

# Addresses that a private network may use (RFC 1918, and the shared range of RFC 6598 that AWS also offers).
_PRIVATE = tuple(
    ipaddress.IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)


def _ingress_port_is_nobody_elses(inspection: Inspection) -> Iterator[Finding]:
    port = inspection.config.ingress.port
    taken = next((known for known in NODE_PORTS if port in known), None)
    if port and taken:
        yield Finding(
            "port-clash",
            f"ingress.port {port} belongs to {taken.name} ({taken.first} to {taken.last})",
            "HAProxy or Ray does not start, on some machines only",
            "another ingress.port, 8000 for example",
        )


def _fixed_ports_are_free(inspection: Inspection) -> Iterator[Finding]:
    config = inspection.config
    if not inspection.is_here or inspection.is_on_nodes:
        return
    for key, port in (("ingress.port", config.ingress.port), ("ray.dashboard_port", config.ray.dashboard_port)):
        if port and not inspection.is_port_free(port):
            yield Finding(
                "port-taken",
                f"{key} is {port}, and something on this machine listens there",
                "the cluster does not come up",
                f"end that process, or another {key} (0: chosen)",
            )


def _services_are_reachable_from_nodes(inspection: Inspection) -> Iterator[Finding]:
    if not inspection.is_on_nodes:
        return
    for key, url in _service_urls(inspection).items():
        host = urlsplit(url).hostname or ""
        if not host:
            yield Finding("no-host", f"{key} = {url!r} names no host", "no node finds the service", f"a host in {key}")
        elif _is_loopback(host):
            yield Finding(
                "loopback",
                f"{key} names {host}, which is each node itself",
                "every node looks for the service on itself",
                f"the address in the private network in {key}",
            )


def _services_are_not_one_another(inspection: Inspection) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for key, url in _service_urls(inspection).items():
        place = urlsplit(url).netloc.rpartition("@")[2]
        if place and ":" in place and place in seen:
            yield Finding(
                "same-address",
                f"{key} and {seen[place]} both name {place}",
                "one of them talks to the other's server",
                "the right address in each",
            )
        seen.setdefault(place, key)


def _callers_are_named(inspection: Inspection) -> Iterator[Finding]:
    if not inspection.is_on_nodes:
        return
    network = inspection.config.topology.network
    for key, cidrs, whom in (
        ("client_cidrs", network.client_cidrs, "no client reaches the gateways"),
        ("service_cidrs", network.service_cidrs, "no node reaches Redis, Milvus, PostgreSQL or the VPC's endpoints"),
    ):
        if not cidrs:
            yield Finding(
                "nobody-let-in",
                f"topology.network.{key} is empty, and everything not named is closed",
                whom,
                f"the private ranges in topology.network.{key}, for example [10.20.0.0/16]",
            )
        for cidr in cidrs:
            yield from _range_problems(key, cidr)


def _range_problems(key: str, cidr: str) -> Iterator[Finding]:
    try:
        found = ipaddress.ip_network(cidr)
    except ValueError as error:
        yield Finding("range", f"topology.network.{key}: {error}", "Kubernetes refuses the policy", "ADDRESS/BITS")
        return
    if isinstance(found, ipaddress.IPv4Network) and not any(found.subnet_of(private) for private in _PRIVATE):
        yield Finding(
            "public-range",
            f"topology.network.{key} holds {cidr}, which is not within the private ranges",
            "machines outside the company's network are let in",
            "private ranges only",
        )


def _balancer_has_its_certificate(inspection: Inspection) -> Iterator[Finding]:
    balancer = inspection.config.topology.balancer
    is_own = inspection.is_on_nodes and not balancer.node_port
    if is_own and balancer.listener == "tls" and not balancer.certificate_arn:
        yield Finding(
            "certificate",
            "topology.balancer.listener is tls, and certificate_arn is empty",
            "the balancer is not made, or takes calls in clear",
            "the certificate's ARN in topology.balancer.certificate_arn",
        )
    if balancer.node_port and not 30000 <= balancer.node_port <= 32767:
        yield Finding(
            "node-port",
            f"topology.balancer.node_port is {balancer.node_port}",
            "Kubernetes refuses the service",
            "30000 to 32767, the one that Terraform's balancer sends calls to (30800)",
        )


def _service_urls(inspection: Inspection) -> dict[str, str]:
    services = inspection.config.services
    urls = {
        "services.redis.url": services.redis.url,
        "services.milvus.uri": services.milvus.uri,
        "services.sql.url": services.sql.url,
        "services.objects.url": services.objects.url,
    }
    return {key: url for key, url in urls.items() if url and not url.startswith(("sqlite", "file"))}


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


RULES: tuple[Rule, ...] = (
    _ingress_port_is_nobody_elses,
    _fixed_ports_are_free,
    _services_are_reachable_from_nodes,
    _services_are_not_one_another,
    _callers_are_named,
    _balancer_has_its_certificate,
)
