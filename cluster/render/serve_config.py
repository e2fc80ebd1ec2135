"""The Ray Serve configuration (a ServeDeploySchema) of a profile.

One application holds the gateways, and each engine pool is a separate application, because Serve replaces every replica
of an application when its arguments change and no replica of any other. Each setting is therefore placed where changing
it costs least:

| stands in | holds | a change |
|---|---|---|
| `deployments[].num_replicas` and the like | counts, limits, time-outs | in place |
| the gateway's `user_config` | the pools and their routes, whether calls are accepted | in place; calls go on |
| `args` of a pool's application | what a replica of the pool reads (`PoolPart`) | replaces that pool's replicas |
| `args` of the gateways' application | what a gateway reads (`GatewayPart`) | replaces the gateways |

The code's fingerprint is in the arguments of all of them. Agents are in none, because they are files
(`cluster.config.agents`).

This module is pure and deterministic: the same configuration and addresses render the same text, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.catalog.catalog import ModelCatalog, names_used_by
from cluster.config.parts import Addresses, GatewayPart, PoolPart
from cluster.config.paths import AGENTS_FOLDER
from cluster.config.pools import STAGES
from cluster.config.schema import VoxrayConfig
from cluster.render.placement import POOL_LABEL, Placed, deployments_of, placed_pool
from cluster.render.scaling import application_policy, replica_range, sharing_variables
from cluster.render.times import call_times
from cluster.render.yaml_text import yaml_text

IMPORT_PATH = "deployments.app:build"
# Default path of the agents' files on machines.
NODE_AGENTS_FOLDER = "/etc/voxray/agents"
POOL_IMPORT_PATH = "deployments.pool_app:build"
# Weights come only from the catalog. A library that looks for them on the network is a defect and causes delays.
_ENGINE_VARIABLES = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, slots=True)
class ServeAddresses:
    """What is known only once services are running and weights are fetched.

    Attributes:
        redis_url: URL of Redis, without a password.
        milvus_uri: URI of Milvus.
        sql_url: SQLAlchemy URL.
        objects_url: folder or s3:// URL of the object store.
        http_port: port of the ingress.
        agents_folder: folder of the agents' files on the gateways' machines.
        models: path of each model by its catalog name; empty where nodes fetch models themselves.
    """

    redis_url: str
    milvus_uri: str
    sql_url: str
    objects_url: str
    http_port: int
    agents_folder: str
    models: Mapping[str, str] = field(default_factory=dict)

    @property
    def services(self) -> Addresses:
        """The addresses of only the services."""
        return Addresses(
            redis_url=self.redis_url,
            milvus_uri=self.milvus_uri,
            sql_url=self.sql_url,
            objects_url=self.objects_url,
        )


def render_serve_config(
    config: VoxrayConfig, addresses: ServeAddresses, *, import_path: str = IMPORT_PATH, build: str = ""
) -> dict[str, Any]:
    """Return the configuration as plain data, ready for Serve's REST API or a YAML file.

    Args:
        config: the tree.
        addresses: the addresses and paths to render.
        import_path: import path of the builder of the gateways' application.
        build: fingerprint of the code, whose change makes Serve replace the replicas. Left out if empty.
    """
    return {
        "proxy_location": "EveryNode" if config.ray.address else "HeadOnly",
        "http_options": {
            "host": config.ingress.host,
            "port": addresses.http_port,
            "request_timeout_s": None,
        },
        "logging_config": {"log_level": config.telemetry.log_level, "enable_access_log": False},
        "applications": [
            _application(config, placed, addresses, import_path=import_path, build=build)
            for placed in deployments_of(config)
        ],
    }


def _application(
    config: VoxrayConfig, placed: Placed, addresses: ServeAddresses, *, import_path: str, build: str
) -> dict[str, Any]:
    is_gateway = placed.pool is None
    args: dict[str, Any] = {"part": part_of(config, placed, addresses).model_dump(mode="json")}
    return {
        "name": placed.application,
        "route_prefix": "/" if is_gateway else None,
        "import_path": import_path if is_gateway else POOL_IMPORT_PATH,
        "args": args | ({"build": build} if build else {}),
        "deployments": [_deployment(config, placed)],
        **application_policy(config, placed),
    }


def part_of(config: VoxrayConfig, placed: Placed, addresses: ServeAddresses) -> GatewayPart | PoolPart:
    """Return the part that the replicas of a deployment read."""
    if placed.pool is None:
        return GatewayPart.of(config, addresses.agents_folder, addresses.services, addresses.models)
    return PoolPart.of(config, placed.component, placed.pool_name, addresses.services, addresses.models)


def live_settings(config: VoxrayConfig, *, accepts_calls: bool = True) -> dict[str, Any]:
    """Return the gateway's `user_config`, which may change while calls are in progress."""
    return {
        "accepts_calls": accepts_calls,
        "offer": {
            "pools": {stage.value: {} for stage in STAGES} | _entries(config),
            "routes": {stage.value: list(config.routes.of(stage)) for stage in STAGES},
        },
    }


def _entries(config: VoxrayConfig) -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for component, name, pool in config.pools.each():
        placed = placed_pool(component, name, pool)
        assert placed.spec is not None
        uses = placed.spec.models(pool)
        entries.setdefault(component.value, {})[name] = {
            "application": placed.application,
            "deployment": placed.name,
            "model": uses[0].name if uses else getattr(pool, "model", ""),
            "is_streaming": placed.spec.is_streaming,
        }
    return entries


def render_yaml(config: VoxrayConfig, addresses: ServeAddresses) -> str:
    """Return the configuration as the text of a YAML file."""
    return yaml_text(render_serve_config(config, addresses))


def fingerprint(rendered: Mapping[str, Any]) -> str:
    """Return a digest that changes when anything in a rendered configuration does."""
    return hashlib.sha256(json.dumps(rendered, sort_keys=True).encode()).hexdigest()


def configured_addresses(config: VoxrayConfig, agents_folder: str = NODE_AGENTS_FOLDER) -> ServeAddresses:
    """Return the addresses given by the configuration alone. Those that a local start would choose have port 0.

    Args:
        config: the tree.
        agents_folder: folder of the agents' files on the nodes of a cluster.
    """
    services = config.services
    return ServeAddresses(
        redis_url=services.redis.url or "redis://127.0.0.1:0/0",
        milvus_uri=services.milvus.uri or "http://127.0.0.1:0",
        sql_url=services.sql.url or "sqlite:///voxray.sqlite",
        objects_url=services.objects.url or "objects",
        http_port=config.ingress.port or 8000,
        agents_folder=agents_folder if config.ray.address else AGENTS_FOLDER,
        models=node_models(config) if config.ray.address else {},
    )


def node_models(config: VoxrayConfig) -> dict[str, str]:
    """Return the path of each model on the nodes of a cluster by name, as used by `voxray models fetch`."""
    paths = config.paths.model_copy(update={"models": Path(config.topology.models_folder)})
    catalog = ModelCatalog.load(config.model_copy(update={"paths": paths}), {})
    return {name: str(catalog.place(name)) for name in names_used_by(config)}


def _deployment(config: VoxrayConfig, placed: Placed) -> dict[str, Any]:
    times = call_times(config)
    is_gateway = placed.pool is None
    return {
        "name": placed.name,
        **replica_range(config, placed),
        **({"user_config": live_settings(config)} if is_gateway else {}),
        "max_ongoing_requests": placed.replicas.max_ongoing_requests,
        # The gateway keeps its sockets during the drain, whereas the others only finish current requests.
        "graceful_shutdown_timeout_s": times.gateway_shutdown_s if is_gateway else times.engine_shutdown_s,
        # Old replicas answer until the new ones are ready. Otherwise a stage with one replica would be missing
        # meanwhile.
        "max_surge_percent": placed.replicas.surge_percent,
        "health_check_period_s": 5,
        "health_check_timeout_s": 30,
        "ray_actor_options": _actor_options(config, placed),
    }


def _actor_options(config: VoxrayConfig, placed: Placed) -> dict[str, Any]:
    replicas = placed.replicas
    threads = config.gateway.threads if placed.pool is None else placed.pool.threads
    # With 0 the replica decides by the processor of its machine.
    variables = {**({"OMP_NUM_THREADS": str(threads)} if threads else {}), **sharing_variables(config, replicas)}
    if placed.spec is not None:
        variables |= {**_ENGINE_VARIABLES, **placed.spec.variables}
    options: dict[str, Any] = {"num_cpus": replicas.num_cpus, "num_gpus": replicas.num_gpus}
    if replicas.neuron_cores:
        options["resources"] = {"neuron_cores": replicas.neuron_cores}
    # Nodes of a local head carry no labels.
    if config.topology.pools():
        options["label_selector"] = {POOL_LABEL: placed.machine}
    return {**options, "runtime_env": {"env_vars": variables}}
