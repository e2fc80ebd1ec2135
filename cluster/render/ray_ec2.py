"""Ray's own autoscaler on EC2: the configuration that the head runs with.

Terraform makes the machines' launch templates, and says which in its output `ray_cluster`: a YAML text with the keys of
a Ray cluster file that machines decide (provider, node types with launch template, resources and labels). This adds
what the topology says (how many machines), checks that both speak of the same machines, and writes the files of the
nodes. No SSH: nodes join by themselves, from the user data of their launch templates.

The switches of the nodes reach them by Terraform too: `ray.auto.tfvars.json` is for its variable `environment`, and if
the output `services` is in the file that is read, they are compared.
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
# Nodes start as many at a time as there are, so that a flash crowd does not wait for rounds.
UPSCALING_SPEED = 10.0
# By these a deployment finds a machine: the autoscaler must count on what the machine's `ray start` says.
_COUNTED = ("CPU", "GPU", "neuron_cores", INGEST_RESOURCE)


class _Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class NodeType(_Output):
    """One kind of machine as Terraform made it; `node_config` is for Ray's AWS provider, and is passed on as it is."""

    node_config: dict[str, Any]
    resources: dict[str, int] = {}
    labels: dict[str, str] = {}


class RayClusterOutput(_Output):
    """Terraform's output `ray_cluster`; `environment` is that of the nodes, where the output `services` told it."""

    cluster_name: str
    head_node_type: str = HEAD
    provider: dict[str, Any]
    node_types: dict[str, NodeType] = Field(alias="available_node_types")
    environment: dict[str, str] | None = None


def read_terraform_output(file: Path) -> RayClusterOutput:
    """Read what `terraform output -json` has written, or `terraform output -raw ray_cluster`.

    Raises:
        ConfigError: the file cannot be read, or something needed is not in it.
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
    """Return an output's value: taken out of Terraform's wrapper, and parsed where it is a YAML text."""
    if isinstance(found, dict) and "value" in found:
        found = found["value"]
    return yaml.safe_load(found) if isinstance(found, str) else found


def ray_ec2_config(config: VoxrayConfig, terraform: RayClusterOutput) -> dict[str, Any]:
    """Return Ray's cluster configuration (`ray-schema.json`), as plain data.

    Raises:
        ConfigError: Terraform made no machines for a pool of the topology, other ones, or with other switches.
    """
    pools = config.topology.pools()
    if not pools:
        raise ConfigError(f"the profile {config.profile} has no node pools (topology): nothing to render for EC2")
    _refuse_mismatch(pools, terraform)
    _refuse_other_switches(node_environment(config), terraform)
    head = terraform.node_types[terraform.head_node_type]
    types: dict[str, Any] = {
        # CPU 0: no replica on the head; its death must not end a call.
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
        "auth": {"ssh_user": "ray"},  # asked for by Ray's schema; nobody logs in
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
    """Return the switches as an environment file (systemd, `docker --env-file`): nodes source it before `ray start`."""
    switches = node_environment(config)
    return "".join(f"{name}={value}\n" for name, value in sorted(switches.items()))


def terraform_switches(config: VoxrayConfig) -> str:
    """Return the switches as a variable file of Terraform."""
    return json.dumps({"environment": node_environment(config)}, indent=2, sort_keys=True) + "\n"


def node_files(config: VoxrayConfig, terraform: RayClusterOutput) -> dict[str, str]:
    """Return all files, by name.

    `ray.yaml` (the head's autoscaler), `voxray.yaml` (the tree, for `voxray models fetch` and jobs on nodes),
    `models-POOL.txt` (what a machine of a pool fetches before Ray starts), `catalog.yaml` (own entries, if there are),
    `serve.yaml` (what `voxray deploy` submits), `agents/NAME.yaml`, `ray.auto.tfvars.json` and `ray.env` (the switches,
    for Terraform and for machines of one's own), `start-POOL.sh` (for machines of one's own).
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
        f"export RAY_REDIS_ADDRESS={shlex.quote(redis_address(config))}",
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
