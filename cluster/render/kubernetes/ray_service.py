"""The RayService: a Ray cluster that KubeRay makes, with the application on it.

A change within `serveConfigV2` is applied in place. A change of `rayClusterConfig` (an image, a node's environment)
makes a second cluster; the old one lives `rayClusterDeletionDelaySeconds` longer, so that its calls can end.
"""

from __future__ import annotations

from typing import Any

from cluster.config.schema import VoxrayConfig
from cluster.render.environment import redis_address
from cluster.render.kubernetes.names import ingress_port, metadata, own_labels
from cluster.render.kubernetes.pods import head_template, ray_labels, ray_resources, worker_template
from cluster.render.serve_config import configured_addresses, render_yaml
from cluster.render.times import call_times

RAY_VERSION = "2.60.0"


def ray_service(config: VoxrayConfig) -> dict[str, Any]:
    """Return the RayService of a configuration."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": metadata(config),
        "spec": {
            "upgradeStrategy": {"type": "NewCluster"},
            "rayClusterDeletionDelaySeconds": call_times(config).cluster_deletion_s,
            "excludeHeadPodFromServeSvc": True,
            "serveService": _serve_service(config),
            "serveConfigV2": render_yaml(config, configured_addresses(config)),
            "rayClusterConfig": _cluster(config),
        },
    }


def _cluster(config: VoxrayConfig) -> dict[str, Any]:
    return {
        "rayVersion": RAY_VERSION,
        "authOptions": {"mode": "token", "secretName": config.topology.secrets.ray_token},
        "gcsFaultToleranceOptions": _gcs(config),
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": max(pool.idle_timeout_s for pool in config.topology.pools().values()),
            "resources": {
                "requests": {"cpu": "500m", "memory": "1Gi"},
                "limits": {"cpu": "500m", "memory": "1Gi"},
            },
        },
        "headGroupSpec": {
            # 0: no replica there; the head's death must not end a call.
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
            "template": head_template(config),
        },
        "workerGroupSpecs": [
            {
                "groupName": name,
                "replicas": pool.min_nodes,
                "minReplicas": pool.min_nodes,
                "maxReplicas": pool.max_nodes,
                "idleTimeoutSeconds": pool.idle_timeout_s,
                "labels": ray_labels(name),
                "resources": ray_resources(pool),
                "rayStartParams": {},
                "template": worker_template(config, name, pool),
            }
            for name, pool in config.topology.pools().items()
        ],
    }


def _gcs(config: VoxrayConfig) -> dict[str, Any]:
    # No `externalStorageNamespace`: an upgraded cluster must not find the state of the one before it.
    redis = config.services.redis
    options: dict[str, Any] = {"redisAddress": redis_address(config)}
    if redis.password_env:
        secret = {"name": config.topology.secrets.environment, "key": redis.password_env}
        options["redisPassword"] = {"valueFrom": {"secretKeyRef": secret}}
    return options


def _serve_service(config: VoxrayConfig) -> dict[str, Any]:
    """Return the service that clients reach: HAProxy on the pods that have one, behind a network load balancer.

    Terraform's balancer sends calls to a port of the nodes; where there is none, Kubernetes' controller makes one.
    """
    balancer = config.topology.balancer
    port = {"name": "calls", "port": balancer.port, "targetPort": ingress_port(config)}
    if balancer.node_port:
        kind: dict[str, Any] = {"type": "NodePort"}
        port["nodePort"] = balancer.node_port
    else:
        kind = {
            "type": "LoadBalancer",
            "loadBalancerClass": "service.k8s.aws/nlb",
            "loadBalancerSourceRanges": list(config.topology.network.client_cidrs),
        }
    annotations = {} if balancer.node_port else {"annotations": _balancer_annotations(config)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata(config, "calls"), **annotations},
        # Local: a node without a gateway takes no calls, and the caller's address arrives as it is.
        "spec": {**kind, "externalTrafficPolicy": "Local", "ports": [port], "selector": own_labels(config)},
    }


def _balancer_annotations(config: VoxrayConfig) -> dict[str, str]:
    balancer, prefix = config.topology.balancer, "service.beta.kubernetes.io/aws-load-balancer"
    deregistration_s = call_times(config).deregistration_s
    annotations = {
        f"{prefix}-scheme": "internal",
        f"{prefix}-nlb-target-type": "ip",
        f"{prefix}-healthcheck-path": "/-/healthz",
        f"{prefix}-healthcheck-protocol": "http",
        f"{prefix}-target-group-attributes": (
            f"deregistration_delay.timeout_seconds={deregistration_s},"
            "deregistration_delay.connection_termination.enabled=true"
        ),
    }
    if balancer.listener == "tls":
        annotations[f"{prefix}-ssl-cert"] = balancer.certificate_arn
        annotations[f"{prefix}-ssl-ports"] = str(balancer.port)
    else:
        attribute = f"tcp.idle_timeout.seconds={balancer.idle_timeout_s}"
        annotations[f"{prefix}-listener-attributes.TCP-{balancer.port}"] = attribute
    return annotations
