"""The Ray Serve configuration (a ServeDeploySchema) of a profile.

Who says what: `deployments.app:build` sets the structure (which deployment calls which), the `deployments` list here
carries the numbers (replicas, resources, threads), so that an operator can change a number in place and Serve applies
it without touching the rest. The whole typed configuration travels as plain data in `args`.

Pure and deterministic: the same configuration and addresses render the same text, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import yaml

from cluster.config.schema import ReplicaConfig, VoxrayConfig
from cluster.render.scaling import DEPLOYMENTS, application_policy, replica_range, replicas_of, sharing_variables

APPLICATION = "voxray"
IMPORT_PATH = "deployments.app:build"
# Time a replica gets beyond the drain, to end what it still does.
SHUTDOWN_MARGIN_S = 10


@dataclass(frozen=True, slots=True)
class ServeAddresses:
    """What is known only once services run and weights are fetched.

    Attributes:
        redis_url: without a password.
        milvus_uri: where Milvus answers.
        sql_url: SQLAlchemy URL.
        objects_url: folder or s3:// URL.
        http_port: port of the ingress.
        models: path of each model by its catalog name; empty where nodes fetch models themselves.
    """

    redis_url: str
    milvus_uri: str
    sql_url: str
    objects_url: str
    http_port: int
    models: Mapping[str, str] = field(default_factory=dict)


def render_serve_config(
    config: VoxrayConfig, addresses: ServeAddresses, *, import_path: str = IMPORT_PATH, build: str = ""
) -> dict[str, Any]:
    """Return the configuration as plain data, ready for Serve's REST API or a YAML file.

    Args:
        config: the tree.
        addresses: see there.
        import_path: the application builder.
        build: fingerprint of the code; a change makes Serve replace the replicas. Empty: left out.
    """
    args: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "addresses": {key: value for key, value in asdict(addresses).items() if key not in ("http_port", "models")},
        "models": dict(sorted(addresses.models.items())),
    }
    if build:
        args["build"] = build
    return {
        "proxy_location": "EveryNode" if config.ray.address else "HeadOnly",
        "http_options": {
            "host": config.ingress.host,
            "port": addresses.http_port,
            "request_timeout_s": None,
        },
        "logging_config": {"log_level": config.telemetry.log_level, "enable_access_log": False},
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": import_path,
                "args": args,
                "deployments": _deployments(config),
                **application_policy(config),
            }
        ],
    }


def render_yaml(config: VoxrayConfig, addresses: ServeAddresses) -> str:
    """Return the configuration as the text of a YAML file."""
    return yaml.safe_dump(render_serve_config(config, addresses), sort_keys=False, width=120)


def fingerprint(rendered: Mapping[str, Any]) -> str:
    """Return a digest that changes when anything in a rendered configuration does."""
    return hashlib.sha256(json.dumps(rendered, sort_keys=True).encode()).hexdigest()


def configured_addresses(config: VoxrayConfig) -> ServeAddresses:
    """Return the addresses that the configuration alone gives; what a local start would choose shows as port 0."""
    services = config.services
    return ServeAddresses(
        redis_url=services.redis.url or "redis://127.0.0.1:0/0",
        milvus_uri=services.milvus.uri or "http://127.0.0.1:0",
        sql_url=services.sql.url or "sqlite:///voxray.sqlite",
        objects_url=services.objects.url or "objects",
        http_port=config.ingress.port or 8000,
    )


def _deployments(config: VoxrayConfig) -> list[dict[str, Any]]:
    # The gateway keeps its sockets for the drain; the others only finish what runs.
    drain_s = config.ingress.drain_s
    return [
        _deployment(
            deployment,
            replicas_of(config, section),
            drain_s + SHUTDOWN_MARGIN_S if section == "gateway" else SHUTDOWN_MARGIN_S,
            {**_VARIABLES.get(section, _ENGINE_VARIABLES), **sharing_variables(config, section)},
            replica_range(config, section),
        )
        for section, deployment in DEPLOYMENTS.items()
    ]


# Weights come from the catalog only: a library that would look on the network is a defect, and a delay.
_ENGINE_VARIABLES = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
# NeMo registers a vLLM plugin that breaks vLLM's start.
_VARIABLES: Mapping[str, Mapping[str, str]] = {
    "gateway": {},
    "language_model": {**_ENGINE_VARIABLES, "VLLM_PLUGINS": ""},
}


def _deployment(
    name: str, replicas: ReplicaConfig, shutdown_s: int, variables: Mapping[str, str], counts: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        **counts,
        "max_ongoing_requests": replicas.max_ongoing_requests,
        "graceful_shutdown_timeout_s": shutdown_s,
        "health_check_period_s": 5,
        "health_check_timeout_s": 30,
        "ray_actor_options": {
            "num_cpus": replicas.num_cpus,
            "num_gpus": replicas.num_gpus,
            **({"resources": {"neuron_cores": replicas.neuron_cores}} if replicas.neuron_cores else {}),
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(replicas.threads), **variables}},
        },
    }
