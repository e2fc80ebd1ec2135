"""The pod templates of the head and of each pool.

Pods run as an ordinary user without privileges, and fetch the weights of their pool before Ray starts. KubeRay adds the
start command. Its `ray stop` before a pod's end is replaced because it would cut calls at once; instead `ray start`
drains by itself on SIGTERM (`RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S`), within the pod's grace period.
"""

from __future__ import annotations

from typing import Any

from cluster.config.schema import VoxrayConfig
from cluster.config.topology import NodePoolConfig
from cluster.render.config_file import CONFIG_FILE
from cluster.render.environment import node_environment, secret_variables
from cluster.render.images import image_of, models_of
from cluster.render.kubernetes.names import (
    AGENTS_MOUNT,
    CONFIG_MOUNT,
    HEAD,
    SYSTEM_NODES,
    ingress_port,
    metadata,
    own_labels,
)
from cluster.render.placement import POOL_LABEL
from cluster.render.ports import DASHBOARD, GCS, HAPROXY_METRICS, RAY_METRICS
from cluster.render.times import call_times

USER_ID = 1000
# Time for the balancer to notice that a pod is going away, before Ray starts to drain it.
PRE_STOP_S = 5
_ACCELERATORS = {"nvidia": "nvidia.com/gpu", "neuron": "aws.amazon.com/neuroncore"}
_TAINTS = {"nvidia": "nvidia.com/gpu", "neuron": "aws.amazon.com/neuron"}
_SHARED_MEMORY_SHARE = 0.3  # the share that Ray gives to its object store


def head_template(config: VoxrayConfig) -> dict[str, Any]:
    """Return the head's pod template. The head holds no replicas, so it needs no weights."""
    head = config.topology.head
    container = {
        "name": "ray-head",
        "image": image_of(config, "gateway"),
        "ports": [
            {"name": "gcs-server", "containerPort": GCS.first},
            {"name": "dashboard", "containerPort": DASHBOARD.first},
            {"name": "metrics", "containerPort": RAY_METRICS.first},
        ],
        **_container_basics(config, head.cpus, head.memory_gib, {}),
    }
    template = _template(config, HEAD, container, init=None, memory_gib=head.memory_gib)
    template["spec"]["nodeSelector"] = {POOL_LABEL: SYSTEM_NODES}
    return template


def worker_template(config: VoxrayConfig, name: str, pool: NodePoolConfig) -> dict[str, Any]:
    """Return the pod template of a pool's nodes."""
    count = pool.gpus or pool.neuron_cores
    accelerator = {_ACCELERATORS[pool.accelerator]: count} if pool.accelerator in _ACCELERATORS else {}
    container = {
        "name": "ray-worker",
        "image": image_of(config, name),
        "ports": [
            {"name": "serve", "containerPort": ingress_port(config)},  # KubeRay's probes look for a port with this name
            {"name": "metrics", "containerPort": RAY_METRICS.first},
            {"name": "haproxy-metrics", "containerPort": HAPROXY_METRICS.first},
        ],
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP_S)]}}},
        **_container_basics(config, pool.cpus, pool.memory_gib, accelerator),
    }
    template = _template(config, name, container, init=_fetch(config, name), memory_gib=pool.memory_gib)
    spec = template["spec"]
    spec["nodeSelector"] = {POOL_LABEL: name}
    if pool.accelerator in _TAINTS:
        spec["tolerations"] = [{"key": _TAINTS[pool.accelerator], "operator": "Exists", "effect": "NoSchedule"}]
    spec["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {**own_labels(config), POOL_LABEL: name}},
        }
    ]
    return template


def ray_labels(name: str) -> dict[str, str]:
    """Return the labels by which Ray places deployments."""
    return {POOL_LABEL: name}


def _template(
    config: VoxrayConfig, pool: str, container: dict[str, Any], *, init: dict[str, Any] | None, memory_gib: int
) -> dict[str, Any]:
    shared_mib = int(memory_gib * 1024 * _SHARED_MEMORY_SHARE)
    return {
        "metadata": {"labels": {**own_labels(config), POOL_LABEL: pool}},
        "spec": {
            "serviceAccountName": metadata(config, pool)["name"],
            # the autoscaler next to the head requests pods from Kubernetes
            "automountServiceAccountToken": pool == HEAD,
            "terminationGracePeriodSeconds": call_times(config).pod_grace_s,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "fsGroup": USER_ID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **({"initContainers": [init]} if init else {}),
            "containers": [container],
            "volumes": [
                {"name": "config", "configMap": {"name": metadata(config, "config")["name"]}},
                {"name": "agents", "configMap": {"name": metadata(config, "agents")["name"]}},
                {"name": "models", "emptyDir": {}},
                {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": f"{shared_mib}Mi"}},
                {"name": "temporary", "emptyDir": {}},
            ],
        },
    }


def _fetch(config: VoxrayConfig, pool: str) -> dict[str, Any] | None:
    models = models_of(config, pool)
    if not models:
        return None
    return {
        "name": "fetch-models",
        "image": image_of(config, pool),
        "command": ["voxray", "models", "fetch", *models],
        **_container_basics(config, 1, 2, {}, switches={}),
    }


def _container_basics(
    config: VoxrayConfig,
    cpus: int,
    memory_gib: int,
    accelerator: dict[str, int],
    *,
    switches: dict[str, str] | None = None,
) -> dict[str, Any]:
    counts = {name: str(count) for name, count in accelerator.items()}
    amounts = {"cpu": str(cpus), "memory": f"{memory_gib}Gi", **counts}
    variables = {
        **(_switches(config) if switches is None else switches),
        "VOXRAY_CONFIG": f"{CONFIG_MOUNT}/{CONFIG_FILE}",
        "VOXRAY_MODELS": config.topology.models_folder,
    }
    return {
        "env": [*({"name": name, "value": value} for name, value in variables.items()), *_secrets(config)],
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_MOUNT, "readOnly": True},
            {"name": "agents", "mountPath": AGENTS_MOUNT, "readOnly": True},
            {"name": "models", "mountPath": config.topology.models_folder},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
            {"name": "temporary", "mountPath": "/tmp"},
        ],
    }


def _switches(config: VoxrayConfig) -> dict[str, str]:
    # KubeRay sets RAY_AUTH_MODE and the token through `authOptions`.
    return {name: value for name, value in node_environment(config).items() if name != "RAY_AUTH_MODE"}


def _secrets(config: VoxrayConfig) -> list[dict[str, Any]]:
    secret = config.topology.secrets.environment
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
        for name in secret_variables(config)
    ]
