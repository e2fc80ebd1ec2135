"""The times along a call's path, outermost first: client, balancer, HAProxy, gateway replica, pod, cluster.

Each outer part must wait longer than what is inside it, or it would cut a call that could continue. Times that are 0 in
the topology are derived here, and `cluster.preflight.times` checks the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.config.schema import VoxrayConfig

# Time that a replica gets beyond the drain to finish its work.
SHUTDOWN_MARGIN_S = 10
# Time that Kubernetes needs beyond the replica, for the shutdown of the pod and of Ray.
POD_MARGIN_S = 30
LONGEST_DEREGISTRATION_S = 3600  # AWS's limit
TLS_IDLE_TIMEOUT_S = 350  # fixed by AWS


@dataclass(frozen=True, slots=True)
class CallTimes:
    """The times along a call's path, all in seconds.

    Attributes:
        client_ping_s: how often something crosses an idle call.
        balancer_idle_s: silence after which the balancer forgets a connection.
        deregistration_s: how long a leaving node keeps its connections at the balancer.
        haproxy_client_s: silence after which HAProxy closes.
        haproxy_hard_stop_s: how long HAProxy's old process keeps its sockets after a change of gateways.
        gateway_idle_s: silence after which the gateway closes a call.
        longest_call_s: when the gateway ends a call.
        drain_s: how long a removed gateway keeps its calls.
        gateway_shutdown_s: when Serve kills a removed gateway.
        engine_shutdown_s: when Serve kills another removed replica.
        pod_grace_s: when Kubernetes kills a pod.
        cluster_deletion_s: how long the old cluster lives after an upgrade.
    """

    client_ping_s: int
    balancer_idle_s: int
    deregistration_s: int
    haproxy_client_s: int
    haproxy_hard_stop_s: int
    gateway_idle_s: int
    longest_call_s: int
    drain_s: int
    gateway_shutdown_s: int
    engine_shutdown_s: int
    pod_grace_s: int
    cluster_deletion_s: int


def call_times(config: VoxrayConfig) -> CallTimes:
    """Return the times of a configuration, derived where they are 0 in the topology."""
    longest_call_s, drain_s = config.ingress.longest_call_s, config.ingress.drain_s
    balancer, pods = config.topology.balancer, config.topology.pods
    gateway_shutdown_s = drain_s + SHUTDOWN_MARGIN_S
    return CallTimes(
        client_ping_s=balancer.client_ping_s,
        balancer_idle_s=balancer.idle_timeout_s,
        deregistration_s=balancer.deregistration_s or min(longest_call_s, LONGEST_DEREGISTRATION_S),
        haproxy_client_s=longest_call_s,
        haproxy_hard_stop_s=longest_call_s,
        gateway_idle_s=config.gateway.idle_timeout_s,
        longest_call_s=longest_call_s,
        drain_s=drain_s,
        gateway_shutdown_s=gateway_shutdown_s,
        engine_shutdown_s=SHUTDOWN_MARGIN_S,
        pod_grace_s=pods.termination_grace_s or gateway_shutdown_s + POD_MARGIN_S,
        cluster_deletion_s=pods.cluster_deletion_delay_s or longest_call_s + POD_MARGIN_S,
    )
