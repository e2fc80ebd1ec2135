"""Ray's own autoscaler on EC2: the configuration that the head runs with, and what every node's start needs.

Terraform makes the machines' launch templates and prints what it made (`terraform output -json ray_cluster`); this
adds what the topology says. No SSH: nodes join by themselves, from the user data of their launch templates.

What is read of Terraform's output:

    {"cluster_name": "...", "region": "eu-central-1", "head_node_type": "head",
     "node_types": {"head": {...}, "cpu": {...}, "nvidia": {...}, "neuron": {...}, "ingest": {...}}}

where each node type has `launch_template_name` (or `_id`) and `launch_template_version`, and may have `instance_type`
and `resources`, which are compared with the topology. Other keys are left alone.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from cluster.config.schema import VoxrayConfig
from cluster.config.topology import PoolConfig
from cluster.render.config_file import config_file
from cluster.render.environment import node_environment
from cluster.render.images import models_of
from cluster.render.placement import POOL_LABEL
from cluster.render.ports import DASHBOARD, GCS
from cluster.render.serve_config import configured_addresses, render_yaml
from cluster.render.yaml_text import yaml_text
from pipelines.errors import ConfigError

HEAD = "head"
CONFIG_FOLDER = "/etc/voxray"
# Nodes start as many at a time as there are, so that a flash crowd does not wait for rounds.
UPSCALING_SPEED = 10.0


class _Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class NodeType(_Output):
    """One kind of machine as Terraform made it."""

    launch_template_name: str = ""
    launch_template_id: str = ""
    launch_template_version: str = "$Latest"
    instance_type: str = ""
    resources: dict[str, int] = {}

    @model_validator(mode="after")
    def _has_template(self) -> NodeType:
        if not (self.launch_template_name or self.launch_template_id):
            raise ValueError("needs launch_template_name or launch_template_id")
        return self

    def node_config(self) -> dict[str, Any]:
        """Return what Ray's AWS provider starts a machine from.

        Subnet and security groups are in the launch template's network interface; named here too, Ray refuses them.
        """
        named = (
            {"LaunchTemplateName": self.launch_template_name}
            if self.launch_template_name
            else {"LaunchTemplateId": self.launch_template_id}
        )
        return {"LaunchTemplate": {**named, "Version": self.launch_template_version}}


class RayClusterOutput(_Output):
    """Terraform's output `ray_cluster`."""

    cluster_name: str
    region: str
    head_node_type: str = HEAD
    node_types: dict[str, NodeType]


def read_terraform_output(file: Path) -> RayClusterOutput:
    """Read `terraform output -json ray_cluster` (or the whole `terraform output -json`) from a file.

    Raises:
        ConfigError: the file cannot be read, or something needed is not in it.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read as JSON of `terraform output`: {error}") from error
    whole = content.get("ray_cluster") if isinstance(content, dict) else None
    found = whole.get("value", whole) if isinstance(whole, dict) else content
    try:
        return RayClusterOutput.model_validate(found)
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"])
        raise ConfigError(f"{file}: ray_cluster.{key}: {detail['msg']}") from error


def ray_ec2_config(config: VoxrayConfig, terraform: RayClusterOutput) -> dict[str, Any]:
    """Return Ray's cluster configuration (`ray-schema.json`), as plain data.

    Raises:
        ConfigError: a pool of the topology has no node type in Terraform's output, or another kind of machine.
    """
    pools = config.topology.pools()
    if not pools:
        raise ConfigError(f"the profile {config.profile} has no node pools (topology): nothing to render for EC2")
    _refuse_mismatch(pools, terraform)
    head = terraform.node_types[terraform.head_node_type]
    types: dict[str, Any] = {
        # CPU 0: no replica on the head; its death must not end a call.
        terraform.head_node_type: {"node_config": head.node_config(), "resources": {"CPU": 0}, "max_workers": 0}
    }
    for name, pool in pools.items():
        types[name] = {
            "node_config": terraform.node_types[name].node_config(),
            "resources": pool_resources(pool),
            "labels": {POOL_LABEL: name},
            "min_workers": pool.min_nodes,
            "max_workers": pool.max_nodes,
            "idle_timeout_s": pool.idle_timeout_s,
        }
    return {
        "cluster_name": terraform.cluster_name,
        "max_workers": sum(pool.max_nodes for pool in pools.values()),
        "upscaling_speed": UPSCALING_SPEED,
        "idle_timeout_minutes": max(1, max(pool.idle_timeout_s for pool in pools.values()) // 60),
        "provider": {
            "type": "aws",
            "region": terraform.region,
            "use_internal_ips": True,
            "cache_stopped_nodes": False,
            "disable_node_updaters": True,
        },
        "auth": {"ssh_user": "ray"},  # asked for by Ray's schema; nobody logs in
        "available_node_types": types,
        "head_node_type": terraform.head_node_type,
        **_no_commands(),
    }


def pool_resources(pool: PoolConfig) -> dict[str, int]:
    """Return what a node of a pool offers to Ray, as Ray's autoscaler counts it."""
    offered = {"CPU": pool.cpus, "GPU": pool.gpus, "neuron_cores": pool.neuron_cores, "memory": pool.memory_gib * 2**30}
    return {name: amount for name, amount in offered.items() if amount}


def render_ray_ec2(config: VoxrayConfig, terraform: RayClusterOutput) -> str:
    """Return the configuration as the text of a YAML file, for `ray start --head --autoscaling-config`."""
    return yaml_text(ray_ec2_config(config, terraform))


def node_environment_file(config: VoxrayConfig) -> str:
    """Return the switches as an environment file (systemd, `docker --env-file`): nodes source it before `ray start`."""
    switches = node_environment(config)
    return "".join(f"{name}={value}\n" for name, value in sorted(switches.items()))


def node_files(config: VoxrayConfig, terraform: RayClusterOutput) -> dict[str, str]:
    """Return the files that nodes find in /etc/voxray, by name.

    `ray.yaml` (the head's autoscaler), `ray.env` (switches), `voxray.yaml` (the tree, for `voxray models fetch` and
    jobs), `serve.yaml` (for `voxray deploy`), `start-POOL.sh` (what a node's user data ends with).
    """
    files = {
        "ray.yaml": render_ray_ec2(config, terraform),
        "ray.env": node_environment_file(config),
        "voxray.yaml": config_file(config),
        "serve.yaml": render_yaml(config, configured_addresses(config)),
    }
    return {**files, **{f"start-{pool}.sh": start_script(config, pool) for pool in (HEAD, *config.topology.pools())}}


def start_script(config: VoxrayConfig, pool: str) -> str:
    """Return the script that makes a machine a node: weights first, then Ray, which does not return."""
    models = () if pool == HEAD else models_of(config, pool)
    fetch = [f"voxray models fetch {' '.join(models)}"] if models else []
    lines = [
        "#!/bin/sh",
        "# Rendered by `voxray render ray-ec2`. Set before: RAY_AUTH_TOKEN_PATH (file with the cluster's token) and,",
        "# on workers, RAY_HEAD_ADDRESS. The secrets that the tree names must be in the environment too.",
        "set -eu",
        "set -a",
        f". {CONFIG_FOLDER}/ray.env",
        "set +a",
        f"export VOXRAY_CONFIG={CONFIG_FOLDER}/voxray.yaml VOXRAY_MODELS={config.topology.models_folder}",
        *(_gcs_exports(config) if pool == HEAD else ()),
        *fetch,
        f"exec {start_command(config, pool)}",
    ]
    return "\n".join(lines) + "\n"


def _gcs_exports(config: VoxrayConfig) -> list[str]:
    """Return what makes the head's state survive it: a new head finds the cluster as it was, and calls go on."""
    return [
        f"export RAY_REDIS_ADDRESS={shlex.quote(config.services.redis.url.partition('?')[0])}",
        f"export RAY_external_storage_namespace={config.topology.name}",
    ]


def start_command(config: VoxrayConfig, pool: str, *, head_address: str = "$RAY_HEAD_ADDRESS") -> str:
    """Return the command that a node's user data ends with.

    Args:
        config: the tree.
        pool: the pool's name, or "head".
        head_address: HOST of the head, or a shell variable that holds it.
    """
    if pool == HEAD:
        options = [
            "--head",
            f"--port={GCS.first}",
            f"--dashboard-port={DASHBOARD.first}",
            "--dashboard-host=0.0.0.0",
            "--num-cpus=0",
            f"--autoscaling-config={CONFIG_FOLDER}/ray.yaml",
        ]
        if config.services.redis.password_env:
            options.append(f'--redis-password="${config.services.redis.password_env}"')
    else:
        resources = pool_resources(getattr(config.topology, pool))
        options = [f"--address={head_address}:{GCS.first}", f"--num-cpus={resources['CPU']}"]
        if "GPU" in resources:
            options.append(f"--num-gpus={resources['GPU']}")
        if "neuron_cores" in resources:
            options.append("--resources=" + shlex.quote(json.dumps({"neuron_cores": resources["neuron_cores"]})))
        options.append(f"--labels={POOL_LABEL}={pool}")
    return " ".join(["ray start", "--block", "--disable-usage-stats", *options])


def _refuse_mismatch(pools: Mapping[str, PoolConfig], terraform: RayClusterOutput) -> None:
    if terraform.head_node_type not in terraform.node_types:
        raise ConfigError(f"ray_cluster.node_types of Terraform's output has no head ({terraform.head_node_type!r})")
    for name, pool in pools.items():
        made = terraform.node_types.get(name)
        if made is None:
            known = ", ".join(sorted(terraform.node_types))
            raise ConfigError(
                f"topology.{name} has nodes (max_nodes = {pool.max_nodes}), but Terraform made no node type {name!r}; "
                f"it made: {known}. Add the pool there, or set topology.{name}.max_nodes: 0"
            )
        if made.instance_type and pool.instance_type and made.instance_type != pool.instance_type:
            raise ConfigError(
                f"topology.{name}.instance_type is {pool.instance_type}, and Terraform made {made.instance_type}: "
                "make them the same, with the resources that belong to it"
            )
        for resource, amount in made.resources.items():
            offered = pool_resources(pool).get(resource, 0)
            if resource in ("GPU", "neuron_cores") and offered != amount:
                raise ConfigError(f"topology.{name} offers {offered} {resource}, and Terraform's machine has {amount}")


def _no_commands() -> dict[str, Any]:
    """Return the empty command lists: Ray would fill in its own, which need SSH."""
    names = (
        "initialization_commands",
        "setup_commands",
        "head_setup_commands",
        "worker_setup_commands",
        "head_start_ray_commands",
        "worker_start_ray_commands",
        "cluster_synced_files",
    )
    return {"file_mounts": {}, **{name: [] for name in names}}
