"""The Ray Serve configuration (a ServeDeploySchema) of a profile.

Who says what: `deployments.app:build` sets the structure (which deployment calls which), the `deployments` list here
carries the numbers (replicas, resources, threads). What Serve does with a change depends on where it stands, so each
setting stands where its change costs least:

| stands in | holds | a change |
|---|---|---|
| `deployments[].num_replicas` and the like | counts, limits, time-outs | in place |
| the gateway's `user_config` | names shown to clients, whether calls are accepted | in place; calls go on |
| an engine's runtime environment | its own section, the paths of its models | replaces that engine's replicas |
| `args` | what the gateway reads, addresses of services, the code's fingerprint | replaces every replica |

Pure and deterministic: the same configuration and addresses render the same text, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cluster.catalog.catalog import ModelCatalog, names_used_by
from cluster.config.schema import VoxrayConfig
from cluster.render.placement import POOL_LABEL, Placed, deployments_of
from cluster.render.scaling import application_policy, replica_range, sharing_variables
from cluster.render.times import call_times
from cluster.render.yaml_text import yaml_text

APPLICATION = "voxray"
IMPORT_PATH = "deployments.app:build"
# The variable in an engine's runtime environment that holds its own section of the tree, and its models, as JSON.
ENGINE_VARIABLE = "VOXRAY_ENGINE"
# Keys of the engines' sections that the gateway reads: with them it decides, so they are the same for all its calls.
GATEWAY_READS = {
    "transcriber": {"partial_interval_ms", "engine", "link"},
    "language_model": {"max_tokens", "first_clause_budget_ms", "routing", "neuron"},
    "retriever": {"limit", "budget_ms"},
    "synthesizer": set[str](),
}
# Serve applies these itself, in place; no replica reads them.
_COUNTS = {
    "calls",
    "gpu_memory_bytes",
    "max_ongoing_requests",
    "max_replicas",
    "min_replicas",
    "num_cpus",
    "price_per_hour",
    "surge_percent",
}


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
    gateway = config.gateway
    named = ((gateway.vad_engine, gateway.vad_model), (gateway.turn_engine, gateway.turn_model))
    gateway_models = [model for engine, model in named if engine != "scripted"]
    args: dict[str, Any] = {
        "config": gateway_settings(config),
        "addresses": {key: value for key, value in asdict(addresses).items() if key not in ("http_port", "models")},
        "models": _paths(addresses, gateway_models),
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
                "deployments": [_deployment(config, placed, addresses) for placed in deployments_of(config)],
                **application_policy(config),
            }
        ],
    }


def gateway_settings(config: VoxrayConfig) -> dict[str, Any]:
    """Return the part of the tree that the gateway reads, as plain data; what is left out has no effect on it."""
    tree = config.model_dump(mode="json", exclude={"ray": True, "topology": True, "paths": True, "scaling": True})
    for section, read in GATEWAY_READS.items():
        tree[section] = {key: value for key, value in tree[section].items() if key in read}
    tree["transcriber"] = _hearing_settings(config, tree["transcriber"])
    second_pool = tree["language_model"]["neuron"]["is_second_pool"]
    tree["language_model"]["neuron"] = {"is_second_pool": second_pool}
    tree["gateway"]["replicas"] = _without_counts(tree["gateway"]["replicas"])
    tree["ingress"].pop("port")
    return tree


def _hearing_settings(config: VoxrayConfig, read: dict[str, Any]) -> dict[str, Any]:
    """Return what the gateway reads of the recogniser: of one that streams that it does, not which one it is."""
    if config.transcriber.is_streaming:
        return {"engine": "nemo", "link": read["link"]}
    return {"partial_interval_ms": read["partial_interval_ms"]}


def engine_settings(config: VoxrayConfig, placed: Placed, addresses: ServeAddresses) -> dict[str, Any]:
    """Return what the replicas of one engine read besides the gateway's part: their section, and their models."""
    own: dict[str, Any] = getattr(config, placed.section).model_dump(mode="json", exclude={"routing": True})
    own["replicas"] = _without_counts(own["replicas"])
    if placed.section == "language_model":
        own["neuron"]["replicas"] = _without_counts(own["neuron"]["replicas"])
        own = {key: value for key, value in own.items() if _is_read_by(placed, key)}
    names = [value for key, value in own.items() if key == "model" or key.endswith("_model")]
    return {"section": placed.section, "settings": own, "models": _paths(addresses, names)}


def _is_read_by(placed: Placed, key: str) -> bool:
    # What only the other pool of the language model reads must not replace this one's replicas.
    if placed.pool == "neuron":
        return key in ("engine", "model", "max_model_len", "neuron", *(() if placed.is_second_pool else ("replicas",)))
    return key != "neuron"


def told_to_gateway(config: VoxrayConfig, *, accepts_calls: bool = True) -> dict[str, Any]:
    """Return the gateway's `user_config`: what may change under calls in progress."""
    return {
        "accepts_calls": accepts_calls,
        "model": config.language_model.model,
        "transcription_model": config.transcriber.model,
        "voice": config.synthesizer.model,
    }


def render_yaml(config: VoxrayConfig, addresses: ServeAddresses) -> str:
    """Return the configuration as the text of a YAML file."""
    return yaml_text(render_serve_config(config, addresses))


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
        models=node_models(config) if config.ray.address else {},
    )


def node_models(config: VoxrayConfig) -> dict[str, str]:
    """Return where each model lies on the nodes of a cluster, by name: `voxray models fetch` puts it there."""
    paths = config.paths.model_copy(update={"models": Path(config.topology.models_folder)})
    catalog = ModelCatalog.load(config.model_copy(update={"paths": paths}), {})
    return {name: str(catalog.place(name)) for name in names_used_by(config)}


def _paths(addresses: ServeAddresses, names: Iterable[str]) -> dict[str, str]:
    return {name: addresses.models[name] for name in sorted(set(names)) if name in addresses.models}


def _without_counts(replicas: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in replicas.items() if key not in _COUNTS}


# Weights come from the catalog only: a library that would look on the network is a defect, and a delay.
_ENGINE_VARIABLES = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
# NeMo registers a vLLM plugin that breaks vLLM's start; on Neuron, vLLM's plugin is what makes it run.
_VLLM_VARIABLES = {**_ENGINE_VARIABLES, "VLLM_PLUGINS": ""}


def _deployment(config: VoxrayConfig, placed: Placed, addresses: ServeAddresses) -> dict[str, Any]:
    times = call_times(config)
    is_gateway = not placed.section
    return {
        "name": placed.name,
        **replica_range(config, placed),
        **({"user_config": told_to_gateway(config)} if is_gateway else {}),
        "max_ongoing_requests": placed.replicas.max_ongoing_requests,
        # The gateway keeps its sockets for the drain; the others only finish what runs.
        "graceful_shutdown_timeout_s": times.gateway_shutdown_s if is_gateway else times.engine_shutdown_s,
        # Old replicas answer until the new ones are ready; else a stage with one replica would be missing meanwhile.
        "max_surge_percent": placed.replicas.surge_percent,
        "health_check_period_s": 5,
        "health_check_timeout_s": 30,
        "ray_actor_options": _actor_options(config, placed, addresses),
    }


def _actor_options(config: VoxrayConfig, placed: Placed, addresses: ServeAddresses) -> dict[str, Any]:
    replicas = placed.replicas
    variables = {"OMP_NUM_THREADS": str(replicas.threads), **sharing_variables(config, replicas)}
    if placed.section:
        has_plugins = placed.pool == "neuron" and config.language_model.neuron.device == "neuron"
        variables |= _VLLM_VARIABLES if placed.is_vllm and not has_plugins else _ENGINE_VARIABLES
        variables[ENGINE_VARIABLE] = json.dumps(engine_settings(config, placed, addresses), sort_keys=True)
    options: dict[str, Any] = {"num_cpus": replicas.num_cpus, "num_gpus": replicas.num_gpus}
    if replicas.neuron_cores:
        options["resources"] = {"neuron_cores": replicas.neuron_cores}
    # Nodes of a local head carry no labels.
    if config.topology.pools():
        options["label_selector"] = {POOL_LABEL: placed.pool}
    return {**options, "runtime_env": {"env_vars": variables}}
