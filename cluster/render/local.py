"""Shows what `voxray up` starts on this machine: the head's environment and command, and Serve's configuration.

This is for comparison with the other renders, and for people who want to start it by other means. Nothing is started,
and folders and ports are shown as `voxray up` would choose them.
"""

from __future__ import annotations

from typing import Any

from cluster.config.schema import VoxrayConfig
from cluster.render.environment import node_environment
from cluster.render.serve_config import configured_addresses, render_serve_config
from cluster.render.yaml_text import yaml_text


def render_local(config: VoxrayConfig) -> str:
    """Return the local cluster's plan as YAML."""
    return yaml_text(local_plan(config))


def local_plan(config: VoxrayConfig) -> dict[str, Any]:
    """Return the local cluster's plan as plain data."""
    return {
        "node_environment": node_environment(config),
        "resources": {
            "CPU": config.ray.num_cpus,
            **({"neuron_cores": config.ray.neuron_cores} if config.ray.neuron_cores else {}),
        },
        "object_store_bytes": config.ray.object_store_bytes,
        "serve": render_serve_config(config, configured_addresses(config)),
    }
