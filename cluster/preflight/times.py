"""Checks whether the times along a call's path fit: each outer part must wait longer than what is inside it.

client ── balancer ── HAProxy ── gateway ── pod ── cluster
  ping  <  idle
                      hard stop  >= longest call
           leaving   >=           drain    <  grace
                                  longest call       <= deletion
"""

from __future__ import annotations

from collections.abc import Iterator

from cluster.preflight.finding import Finding, Inspection, Rule
from cluster.render.times import LONGEST_DEREGISTRATION_S, TLS_IDLE_TIMEOUT_S, call_times


def _ping_crosses_the_balancer(inspection: Inspection) -> Iterator[Finding]:
    times = call_times(inspection.config)
    if times.client_ping_s >= times.balancer_idle_s:
        yield Finding(
            "ping",
            f"an idle call is crossed by something every {times.client_ping_s} s, and the balancer forgets a silent "
            f"connection after {times.balancer_idle_s} s",
            "callers who listen in silence are cut",
            f"topology.balancer.client_ping_s below {times.balancer_idle_s}, with clients that really do so",
        )


def _tls_idle_is_what_aws_does(inspection: Inspection) -> Iterator[Finding]:
    balancer = inspection.config.topology.balancer
    if balancer.listener == "tls" and balancer.idle_timeout_s != TLS_IDLE_TIMEOUT_S:
        yield Finding(
            "tls-idle",
            f"topology.balancer.idle_timeout_s is {balancer.idle_timeout_s}, and AWS fixes it at "
            f"{TLS_IDLE_TIMEOUT_S} s for a TLS listener",
            "the balancer cuts at a different time than this configuration assumes",
            f"idle_timeout_s: {TLS_IDLE_TIMEOUT_S}, or listener: tcp (TLS then ends elsewhere)",
        )


def _gateway_ends_idle_calls_itself(inspection: Inspection) -> Iterator[Finding]:
    times = call_times(inspection.config)
    if times.gateway_idle_s > times.haproxy_client_s:
        yield Finding(
            "gateway-idle",
            f"the gateway closes a silent call after {times.gateway_idle_s} s (gateway.idle_timeout_s), HAProxy "
            f"already after {times.haproxy_client_s} s (ingress.longest_call_s)",
            "clients see a broken socket instead of an orderly close",
            f"gateway.idle_timeout_s at most {times.haproxy_client_s}",
        )


def _rollout_keeps_calls(inspection: Inspection) -> Iterator[Finding]:
    times = call_times(inspection.config)
    if inspection.is_on_nodes and times.drain_s < times.longest_call_s:
        yield Finding(
            "drain",
            f"a removed gateway keeps its calls for {times.drain_s} s (ingress.drain_s), and a call may last "
            f"{times.longest_call_s} s (ingress.longest_call_s)",
            "a roll-out cuts the longer calls",
            f"ingress.drain_s: {times.longest_call_s}, or a shorter ingress.longest_call_s",
        )


def _balancer_keeps_leaving_nodes(inspection: Inspection) -> Iterator[Finding]:
    times = call_times(inspection.config)
    if not inspection.is_on_nodes or times.deregistration_s >= times.drain_s:
        return
    fix = f"topology.balancer.deregistration_s: {times.drain_s} (or 0: derived)"
    if times.drain_s > LONGEST_DEREGISTRATION_S:
        fix = f"ingress.drain_s and ingress.longest_call_s at most {LONGEST_DEREGISTRATION_S}, AWS's limit"
    yield Finding(
        "deregistration",
        f"the balancer keeps the connections of a leaving node for {times.deregistration_s} s, the gateway wants "
        f"{times.drain_s} s (ingress.drain_s)",
        "calls are cut although their gateway still serves them",
        fix,
    )


def _pod_outlives_its_gateway(inspection: Inspection) -> Iterator[Finding]:
    times = call_times(inspection.config)
    if inspection.is_on_nodes and times.pod_grace_s <= times.gateway_shutdown_s:
        yield Finding(
            "pod-grace",
            f"Kubernetes kills a pod after {times.pod_grace_s} s (topology.pods.termination_grace_s), its gateway may "
            f"drain for {times.gateway_shutdown_s} s",
            "calls are cut when a node is drained",
            f"topology.pods.termination_grace_s above {times.gateway_shutdown_s} (or 0: derived)",
        )


def _old_cluster_outlives_its_calls(inspection: Inspection) -> Iterator[Finding]:
    times = call_times(inspection.config)
    if inspection.is_on_nodes and times.cluster_deletion_s < times.longest_call_s:
        yield Finding(
            "cluster-deletion",
            f"KubeRay deletes the old cluster {times.cluster_deletion_s} s after an upgrade "
            f"(topology.pods.cluster_deletion_delay_s), and a call may last {times.longest_call_s} s",
            "an upgrade cuts calls that should be kept",
            f"topology.pods.cluster_deletion_delay_s: {times.longest_call_s} (or 0: derived)",
        )


RULES: tuple[Rule, ...] = (
    _ping_crosses_the_balancer,
    _tls_idle_is_what_aws_does,
    _gateway_ends_idle_calls_itself,
    _rollout_keeps_calls,
    _balancer_keeps_leaving_nodes,
    _pod_outlives_its_gateway,
    _old_cluster_outlives_its_calls,
)
