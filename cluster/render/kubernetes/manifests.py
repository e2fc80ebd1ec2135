"""All manifests of a cluster, in the order in which they are applied."""

from __future__ import annotations

from typing import Any, Literal

from cluster.config.schema import VoxrayConfig
from cluster.render.config_file import agent_texts, config_files
from cluster.render.kubernetes.names import CONFIG_MOUNT, HEAD, metadata, own_labels
from cluster.render.kubernetes.network import network_policies
from cluster.render.kubernetes.ray_service import node_port_service, ray_service
from cluster.render.placement import POOL_LABEL
from cluster.render.yaml_text import yaml_documents
from pipelines.errors import ConfigError

Part = Literal["all", "cluster", "calls"]


def render_kuberay(config: VoxrayConfig, part: Part = "all") -> str:
    """Return the manifests as the text of one YAML file, for `kubectl apply -f`.

    Args:
        config: the tree.
        part: "all"; "cluster" for all but the service that routes calls to this version of the cluster; or "calls" for
            only that service.

    Raises:
        ConfigError: the configuration describes no cluster on nodes.
    """
    manifests = kuberay_manifests(config)
    if part != "all":
        manifests = [item for item in manifests if (item["kind"] == "Service") == (part == "calls")]
    return yaml_documents(manifests)


def kuberay_manifests(config: VoxrayConfig) -> list[dict[str, Any]]:
    """Return the manifests as plain data.

    Raises:
        ConfigError: the configuration describes no cluster on nodes.
    """
    if not config.topology.pools():
        raise ConfigError(
            f"the profile {config.profile} has no node pools (topology.gateway.max_nodes and the like are 0): "
            "nothing to render for Kubernetes; take the profile nvidia or inferentia"
        )
    return [
        *(
            _core(config, "ServiceAccount", pool, {"automountServiceAccountToken": False})
            for pool in (HEAD, *config.topology.pools())
        ),
        _core(config, "ConfigMap", "config", {"data": config_files(config, CONFIG_MOUNT)}),
        _core(config, "ConfigMap", "agents", {"data": agent_texts(config)}),
        *network_policies(config),
        *_disruption_budgets(config),
        ray_service(config),
        *([node_port_service(config)] if config.topology.balancer.node_port else []),
    ]


def _core(config: VoxrayConfig, kind: str, suffix: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata(config, suffix), **content}


def _disruption_budgets(config: VoxrayConfig) -> list[dict[str, Any]]:
    """Return the budgets: a node drain never evicts the head, and evicts one pod of each pool at a time."""
    budgets = [_disruption_budget(config, HEAD, {"maxUnavailable": 0})]
    for name, pool in config.topology.pools().items():
        if not pool.is_spot:
            budgets.append(_disruption_budget(config, name, {"maxUnavailable": 1}))
    return budgets


def _disruption_budget(config: VoxrayConfig, pool: str, limit: dict[str, int]) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(config, pool),
        "spec": {**limit, "selector": {"matchLabels": {**own_labels(config), POOL_LABEL: pool}}},
    }
