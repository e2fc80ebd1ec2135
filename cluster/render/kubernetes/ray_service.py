"""The RayService: a Ray cluster created by KubeRay, with the application on it.

A change within `serveConfigV2` is applied in place. A change of `rayClusterConfig` (an image, a node's environment)
creates a second cluster, and the old one lives `rayClusterDeletionDelaySeconds` longer so that its calls can end.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from cluster.config.schema import VoxrayConfig
from cluster.render.environment import redis_address
from cluster.render.kubernetes.names import AGENTS_MOUNT, ingress_port, metadata, own_labels
from cluster.render.kubernetes.pods import head_template, ray_labels, worker_template
from cluster.render.placement import offered
from cluster.render.serve_config import configured_addresses, render_yaml
from cluster.render.times import call_times

RAY_VERSION = "2.60.0"
VERSION_LABEL = "voxray-cluster"
_NUMBERS = ("replicas", "minReplicas", "maxReplicas")


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
            **({} if config.topology.balancer.node_port else {"serveService": _own_balancer(config)}),
            "serveConfigV2": render_yaml(config, configured_addresses(config, AGENTS_MOUNT)),
            "rayClusterConfig": _labelled(_cluster(config)),
        },
    }


def node_port_service(config: VoxrayConfig) -> dict[str, Any]:
    """Return the service through which a balancer outside Kubernetes (Terraform's) reaches the gateways.

    It selects the pods of one version of the cluster. After a change that creates a second cluster, applying this
    service sends new calls there, so apply the rest first and this when the new cluster is ready. KubeRay's own service
    would follow by itself, but cannot have a fixed node port.
    """
    balancer = config.topology.balancer
    port = {"name": "serve", "port": balancer.port, "targetPort": ingress_port(config), "nodePort": balancer.node_port}
    workers = {"ray.io/node-type": "worker"}  # the head has no ingress
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(config, "calls"),
        "spec": {
            "type": "NodePort",
            # "Local" means that a node without a gateway takes no calls, and that the caller's address is preserved.
            "externalTrafficPolicy": "Local",
            "ports": [port],
            "selector": {**own_labels(config), **workers, VERSION_LABEL: _version(_cluster(config))},
        },
    }


def _version(cluster: dict[str, Any]) -> str:
    # Node counts change in place, since KubeRay ignores them in its comparison as well.
    groups = [
        {key: value for key, value in group.items() if key not in _NUMBERS} for group in cluster["workerGroupSpecs"]
    ]
    compared = {**cluster, "workerGroupSpecs": groups}
    return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:10]


def _labelled(cluster: dict[str, Any]) -> dict[str, Any]:
    """Return the cluster with its version on every pod.

    Whatever makes KubeRay create a second one changes the version.
    """
    version = _version(cluster)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        group["template"]["metadata"]["labels"][VERSION_LABEL] = version
    return cluster


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
            # 0 CPUs keep replicas off the head, whose death must not end a call.
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
                "resources": {resource: str(amount) for resource, amount in offered(name, pool).items()},
                "rayStartParams": {},
                "template": worker_template(config, name, pool),
            }
            for name, pool in config.topology.pools().items()
        ],
    }


def _gcs(config: VoxrayConfig) -> dict[str, Any]:
    # There is no `externalStorageNamespace`, because an upgraded cluster must not find its predecessor's state.
    redis = config.services.redis
    options: dict[str, Any] = {"redisAddress": redis_address(config)}
    if redis.password_env:
        secret = {"name": config.topology.secrets.environment, "key": redis.password_env}
        options["redisPassword"] = {"valueFrom": {"secretKeyRef": secret}}
    return options


def _own_balancer(config: VoxrayConfig) -> dict[str, Any]:
    """Return the service that KubeRay keeps on the current cluster, behind Kubernetes' own balancer.

    KubeRay takes name and number of the port called "serve" from it, and drops its other ports.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata(config, "calls"), "annotations": _balancer_annotations(config)},
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerClass": "service.k8s.aws/nlb",
            "loadBalancerSourceRanges": list(config.topology.network.client_cidrs),
            "externalTrafficPolicy": "Local",
            "ports": [{"name": "serve", "port": ingress_port(config)}],
        },
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
        annotations[f"{prefix}-ssl-ports"] = "serve"
    else:
        attribute = f"tcp.idle_timeout.seconds={balancer.idle_timeout_s}"
        annotations[f"{prefix}-listener-attributes.TCP-{ingress_port(config)}"] = attribute
    return annotations
