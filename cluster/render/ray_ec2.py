"""Renders the configuration of Ray's own autoscaler on EC2, which runs on the head.

Terraform creates the machines' launch templates and names them in its output `ray_cluster`: a YAML text with those keys
of a Ray cluster file that depend on machines (provider, and node types with launch template, resources and labels).
This module adds the numbers of machines from the topology, checks that both describe the same machines, and writes the
files of the nodes. SSH is not needed, since nodes join by themselves through the user data of their launch templates.

The nodes' switches also reach them through Terraform: `ray.auto.tfvars.json` is for its variable `environment`. If the
file that is read contains the output `services`, the switches are compared.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.config.paths import AGENTS_FOLDER
from cluster.config.schema import VoxrayConfig
from cluster.config.topology import NodePoolConfig
from cluster.render.config_file import agent_texts, config_files
from cluster.render.environment import node_environment, redis_address
from cluster.render.images import models_of
from cluster.render.placement import INGEST_RESOURCE, POOL_LABEL, offered
from cluster.render.ports import DASHBOARD, GCS
from cluster.render.serve_config import configured_addresses, render_yaml
from cluster.render.yaml_text import yaml_text
from pipelines.errors import ConfigError

HEAD = "head"
CONFIG_FOLDER = "/etc/voxray"
SWITCHES_FILE = "ray.auto.tfvars.json"
# All missing nodes start at the same time, so that a flash crowd does not wait for rounds.
UPSCALING_SPEED = 10.0
# Deployments find machines by these labels, so the autoscaler must expect what the machine's `ray start` announces.
_COUNTED = ("CPU", "GPU", "neuron_cores", INGEST_RESOURCE)


class _Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class NodeType(_Output):
    """One kind of machine created by Terraform. `node_config` is passed unchanged to Ray's AWS provider."""

    node_config: dict[str, Any]
    resources: dict[str, int] = {}
    labels: dict[str, str] = {}


class RayClusterOutput(_Output):
    """Terraform's output `ray_cluster`. `environment` is that of the nodes, if the output `services` was given."""

    cluster_name: str
    head_node_type: str = HEAD
    provider: dict[str, Any]
    node_types: dict[str, NodeType] = Field(alias="available_node_types")
    environment: dict[str, str] | None = None


def read_terraform_output(file: Path) -> RayClusterOutput:
    """Read the output of `terraform output -json` or `terraform output -raw ray_cluster`.

    Raises:
        ConfigError: the file cannot be read or lacks something needed.
    """
    try:
        content = _opened(yaml.safe_load(file.read_text(encoding="utf-8")))  # JSON is YAML
        cluster = _opened(content.get("ray_cluster", content))
        services = _opened(content.get("services", {}))
        known = {"environment": services.get("environment")} if services.get("environment") else {}
        return RayClusterOutput.model_validate({**cluster, **known})
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"])
        raise ConfigError(f"{file}: ray_cluster.{key}: {detail['msg']}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise ConfigError(f"{file}: cannot be read as `terraform output -json`: {error}") from error


def _opened(found: Any) -> Any:
    """Return an output's value, unwrapped from Terraform's envelope and parsed if it is YAML text."""
    if isinstance(found, dict) and "value" in found:
        found = found["value"]
    return yaml.safe_load(found) if isinstance(found, str) else found


def ray_ec2_config(config: VoxrayConfig, terraform: RayClusterOutput) -> dict[str, Any]:
    """Return Ray's cluster configuration (`ray-schema.json`), as plain data.

    Raises:
        ConfigError: Terraform's machines for a pool of the topology are missing or different, or have other switches.
    """
    pools = config.topology.pools()
    if not pools:
        raise ConfigError(f"the profile {config.profile} has no node pools (topology): nothing to render for EC2")
    _refuse_mismatch(pools, terraform)
    _refuse_other_switches(node_environment(config), terraform)
    head = terraform.node_types[terraform.head_node_type]
    types: dict[str, Any] = {
        # 0 CPUs keep replicas off the head, whose death must not end a call.
        terraform.head_node_type: {**_as_made(head), "resources": {**head.resources, "CPU": 0}, "max_workers": 0}
    }
    for name, pool in pools.items():
        types[name] = {
            **_as_made(terraform.node_types[name]),
            "min_workers": pool.min_nodes,
            "max_workers": pool.max_nodes,
            "idle_timeout_s": pool.idle_timeout_s,
        }
    return {
        "cluster_name": terraform.cluster_name,
        "max_workers": sum(pool.max_nodes for pool in pools.values()),
        "upscaling_speed": UPSCALING_SPEED,
        "idle_timeout_minutes": max(1, max(pool.idle_timeout_s for pool in pools.values()) // 60),
        "provider": terraform.provider,
        "auth": {"ssh_user": "ray"},  # required by Ray's schema, although nobody logs in
        "available_node_types": types,
        "head_node_type": terraform.head_node_type,
        **_no_commands(),
    }


def _as_made(kind: NodeType) -> dict[str, Any]:
    return {"node_config": kind.node_config, "resources": kind.resources, "labels": kind.labels}


def render_ray_ec2(config: VoxrayConfig, terraform: RayClusterOutput) -> str:
    """Return the configuration as the text of a YAML file, for `ray start --head --autoscaling-config`."""
    return yaml_text(ray_ec2_config(config, terraform))


def node_environment_file(config: VoxrayConfig) -> str:
    """Return the switches as an environment file (systemd, `docker --env-file`), which nodes load before Ray."""
    switches = node_environment(config)
    return "".join(f"{name}={value}\n" for name, value in sorted(switches.items()))


def terraform_switches(config: VoxrayConfig) -> str:
    """Return the switches as a Terraform variable file."""
    return json.dumps({"environment": node_environment(config)}, indent=2, sort_keys=True) + "\n"


def node_files(config: VoxrayConfig, terraform: RayClusterOutput) -> dict[str, str]:
    """Return all files, by name.

    `ray.yaml` (the head's autoscaler), `voxray.yaml` (the tree, for `voxray models fetch` and jobs on nodes),
    `models-POOL.txt` (models that a machine of a pool fetches before Ray starts), `catalog.yaml` (the operator's own
    entries, if any), `serve.yaml` (what `voxray deploy` submits), `agents/NAME.yaml`, `ray.auto.tfvars.json` and
    `ray.env` (the switches, for Terraform and for self-managed machines), `start-POOL.sh` (for self-managed machines).
    """
    pools = config.topology.pools()
    files = {
        "ray.yaml": render_ray_ec2(config, terraform),
        "ray.env": node_environment_file(config),
        SWITCHES_FILE: terraform_switches(config),
        **config_files(config, CONFIG_FOLDER),
        "serve.yaml": render_yaml(config, configured_addresses(config)),
        **{f"models-{pool}.txt": "".join(f"{name}\n" for name in models_of(config, pool)) for pool in pools},
    }
    files |= {f"{AGENTS_FOLDER}/{name}": text for name, text in agent_texts(config).items()}
    return {**files, **{f"start-{pool}.sh": start_script(config, pool) for pool in (HEAD, *pools)}}


def start_script(config: VoxrayConfig, pool: str) -> str:
    """Return the script that turns a machine into a node.

    It fetches weights and then runs Ray, which does not return.
    """
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
    """Return the settings that preserve the head's state, so that a new head finds the cluster as it was."""
    return [
        f"export RAY_REDIS_ADDRESS={shlex.quote(redis_address(config))}",
        f"export RAY_external_storage_namespace={config.topology.name}",
    ]


def start_command(config: VoxrayConfig, pool: str, *, head_address: str = "$RAY_HEAD_ADDRESS") -> str:
    """Return the command that a node's user data ends with.

    Args:
        config: the tree.
        pool: the pool's name, or "head".
        head_address: host of the head, or a shell variable that holds it.
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
        resources = offered(pool, getattr(config.topology, pool))
        options = [f"--address={head_address}:{GCS.first}", f"--num-cpus={resources['CPU']}"]
        if "GPU" in resources:
            options.append(f"--num-gpus={resources['GPU']}")
        custom = {name: amount for name, amount in resources.items() if name not in ("CPU", "GPU", "memory")}
        if custom:
            options.append("--resources=" + shlex.quote(json.dumps(custom)))
        options.append(f"--labels={POOL_LABEL}={pool}")
    return " ".join(["ray start", "--block", "--disable-usage-stats", *options])


def _refuse_mismatch(pools: Mapping[str, NodePoolConfig], terraform: RayClusterOutput) -> None:
    if terraform.head_node_type not in terraform.node_types:
        raise ConfigError(f"ray_cluster of Terraform's output has no head ({terraform.head_node_type!r})")
    for name, pool in pools.items():
        made = terraform.node_types.get(name)
        if made is None:
            known = ", ".join(sorted(terraform.node_types))
            raise ConfigError(
                f"topology.{name} has nodes (max_nodes = {pool.max_nodes}), but Terraform made no pool {name!r}; "
                f"it made: {known}. Add the pool there, or set topology.{name}.max_nodes: 0"
            )
        if made.labels.get(POOL_LABEL) != name:
            raise ConfigError(f"Terraform's machines of the pool {name!r} lack the label {POOL_LABEL}={name}")
        for resource in _COUNTED:
            there, here = made.resources.get(resource, 0), offered(name, pool).get(resource, 0)
            if there != here and resource == INGEST_RESOURCE:
                raise ConfigError(
                    f"Terraform's machines of the pool {name!r} offer {there} of the resource {resource!r}, and jobs "
                    f"on business data want {here}: the pool ingest, and no other, has the workload ingest there"
                )
            if there != here:
                key = {"CPU": "cpus", "GPU": "gpus"}.get(resource, resource)
                raise ConfigError(
                    f"topology.{name}.{key} is {here}, and Terraform's machines offer {there}: make them the same, "
                    f"here or in its variable `pools`"
                )


def _refuse_other_switches(wanted: Mapping[str, str], terraform: RayClusterOutput) -> None:
    there = terraform.environment
    if there is None:
        return
    wrong = [f"{name} is {there.get(name)}, not {value}" for name, value in wanted.items() if there.get(name) != value]
    if wrong:
        raise ConfigError(
            "Terraform's machines have other switches than the configuration: "
            + "; ".join(wrong)
            + ". Give `ray.auto.tfvars.json` (`voxray render switches`) to Terraform and apply it again"
        )


def _no_commands() -> dict[str, Any]:
    """Return empty command lists, since Ray would otherwise fill in its own, which need SSH."""
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
