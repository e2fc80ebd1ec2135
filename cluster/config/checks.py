"""Detects combinations of valid keys that cannot work, before anything starts.

Each rule generates problems from the parsed tree. `RULES` lists all rules.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from pathlib import PurePath
from urllib.parse import parse_qsl, urlsplit

from autoscaling.policy.schedule import parse_entry
from cluster.config.environment import KeyPath
from cluster.config.pools import STAGES, ReplicaConfig, spec_of_pool
from cluster.config.problems import Problem
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import model_uses
from pipelines.errors import Component

PRODUCTION_PROFILES = frozenset({"nvidia", "inferentia"})
_VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


def problems_in(config: VoxrayConfig) -> list[Problem]:
    """Return every combination of settings in `config` that cannot work."""
    return [problem for rule in RULES for problem in rule(config)]


def _replicas(config: VoxrayConfig) -> Iterator[tuple[KeyPath, ReplicaConfig]]:
    yield ("gateway",), config.gateway.replicas
    for component, name, pool in config.pools.each():
        yield ("pools", component.value, name), pool.replicas


def _replica_counts(config: VoxrayConfig) -> Iterator[Problem]:
    for path, replicas in _replicas(config):
        if replicas.max_replicas < replicas.min_replicas:
            message = f"must be at least {'.'.join(path)}.replicas.min_replicas, which is {replicas.min_replicas}"
            yield Problem((*path, "replicas", "max_replicas"), message)


def _accelerators(config: VoxrayConfig) -> Iterator[Problem]:
    for path, replicas in _replicas(config):
        at: KeyPath = (*path, "replicas")
        if replicas.neuron_cores and replicas.num_gpus:
            yield Problem((*at, "neuron_cores"), f"cannot be set beside num_gpus, which is {replicas.num_gpus:g}")
        if replicas.num_gpus > 1 and replicas.num_gpus != int(replicas.num_gpus):
            yield Problem((*at, "num_gpus"), "must be a fraction below 1 or a whole number: Ray shares only one GPU")
        if config.profile not in PRODUCTION_PROFILES and replicas.num_gpus:
            yield Problem((*at, "num_gpus"), f"the profile {config.profile} has no accelerator; allowed: 0")
        if config.profile == "inferentia" and replicas.num_gpus:
            yield Problem((*at, "num_gpus"), "an Inferentia node has no GPU; allowed: 0")


def _engines(config: VoxrayConfig) -> Iterator[Problem]:
    for component, name, pool in config.pools.each():
        at: KeyPath = ("pools", component.value, name)
        spec = spec_of_pool(component, pool)
        for key, message in spec.problems(pool, config.profile):
            yield Problem((*at, *key.split(".")), message)
        needs_gpu = config.profile == "nvidia" and spec.has_models and component is not Component.RETRIEVER
        if needs_gpu and not pool.replicas.num_gpus and not spec.needs_neuron and not pool.machine:
            message = "the profile nvidia needs a GPU, or a fraction of one, for this engine (or set machine: gateway)"
            yield Problem((*at, "replicas", "num_gpus"), message)


def _answers(config: VoxrayConfig) -> Iterator[Problem]:
    for name, pool in config.pools.of(Component.LANGUAGE_MODEL).items():
        longest = getattr(pool, "max_model_len", None)
        if longest is not None and config.answering.max_tokens >= longest:
            message = f"must leave room for the prompt within pools.language_model.{name}.max_model_len = {longest}"
            yield Problem(("answering", "max_tokens"), message)


def _routes(config: VoxrayConfig) -> Iterator[Problem]:
    for component in STAGES:
        pools = config.pools.of(component)
        for name in config.routes.of(component):
            if name not in pools:
                message = f"there is no pool {name}; pools of this stage: {', '.join(pools)}"
                yield Problem(("routes", component.value), message)


def _stage_link(config: VoxrayConfig) -> Iterator[Problem]:
    link = config.hearing.link
    if link.answer_s >= link.wait_s:
        message = f"must be less than hearing.link.wait_s = {link.wait_s:g}, or no other replica is ever tried"
        yield Problem(("hearing", "link", "answer_s"), message)


def _turn_times(config: VoxrayConfig) -> Iterator[Problem]:
    turn = config.turn
    if turn.min_silence_ms > turn.max_silence_ms:
        yield Problem(
            ("turn", "min_silence_ms"), f"must be at most turn.max_silence_ms, which is {turn.max_silence_ms}"
        )
    if turn.speculation_silence_ms > turn.max_silence_ms:
        message = f"must be at most turn.max_silence_ms, which is {turn.max_silence_ms}: the turn is over by then"
        yield Problem(("turn", "speculation_silence_ms"), message)


def _ingress(config: VoxrayConfig) -> Iterator[Problem]:
    if not _is_loopback(config.ingress.host) and not config.gateway.api_key_env:
        message = "is open to other machines, so gateway.api_key_env must name the variable that holds the clients' key"
        yield Problem(("ingress", "host"), message)
    if config.ingress.drain_s > config.ingress.longest_call_s:
        message = f"must be at most ingress.longest_call_s, which is {config.ingress.longest_call_s}"
        yield Problem(("ingress", "drain_s"), message)
    if config.gateway.max_calls > config.gateway.replicas.max_ongoing_requests:
        message = (
            "a call is one ongoing request, so it must be at most gateway.replicas.max_ongoing_requests, "
            f"which is {config.gateway.replicas.max_ongoing_requests}"
        )
        yield Problem(("gateway", "max_calls"), message)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _local_head_size(config: VoxrayConfig) -> Iterator[Problem]:
    if config.ray.address:
        return
    smallest = [(replicas.min_replicas, replicas) for _, replicas in _replicas(config)]
    wanted_cores = sum(count * replicas.neuron_cores for count, replicas in smallest)
    if wanted_cores > config.ray.neuron_cores:
        message = f"the smallest number of replicas asks for {wanted_cores} NeuronCores, which would wait for ever"
        yield Problem(("ray", "neuron_cores"), message)
    needed = sum(count * replicas.num_cpus for count, replicas in smallest)
    if needed > config.ray.num_cpus:
        message = f"the smallest number of replicas asks for {needed:g} CPUs, which would wait for ever"
        yield Problem(("ray", "num_cpus"), message)


def _scaling(config: VoxrayConfig) -> Iterator[Problem]:
    for index, entry in enumerate(config.scaling.schedule):
        try:
            parse_entry(entry.days, entry.start, entry.end, entry.calls)
        except ValueError as error:
            yield Problem(("scaling", "schedule", str(index)), str(error))
    for name, pool in config.pools.of(Component.TRANSCRIBER).items():
        replicas = pool.replicas
        is_counted = config.scaling.policy == "calls" or not spec_of_pool(Component.TRANSCRIBER, pool).is_streaming
        if not is_counted and replicas.max_replicas > replicas.min_replicas:
            message = (
                "has no effect: streams do not count as requests to Ray Serve, so its rule would never add a replica. "
                "Set scaling.policy to calls, or set min_replicas to the number you want"
            )
            yield Problem(("pools", "transcriber", name, "replicas", "max_replicas"), message)
    if config.scaling.policy != "calls":
        return
    for path, replicas in _replicas(config):
        if (path[0] == "gateway" or replicas.max_replicas > replicas.min_replicas) and not replicas.calls:
            message = "must be the number of calls one replica holds, for scaling.policy = calls (see `voxray plan`)"
            yield Problem((*path, "replicas", "calls"), message)


def _addresses(config: VoxrayConfig) -> Iterator[Problem]:
    services = config.services
    wanted: dict[KeyPath, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
        ("services", "redis", "url"): (services.redis.url, ("redis", "rediss"), ("rediss",)),
        ("services", "milvus", "uri"): (services.milvus.uri, ("http", "https"), ("http", "https")),
        ("services", "sql", "url"): (services.sql.url, ("sqlite", "postgresql"), ("postgresql",)),
        ("services", "objects", "url"): (services.objects.url, ("s3", "file"), ("s3",)),
    }
    is_production = config.profile in PRODUCTION_PROFILES
    for path, (url, known, for_production) in wanted.items():
        allowed = for_production if is_production else known
        shown = " or ".join(f"{scheme}://..." for scheme in allowed)
        scheme = urlsplit(url).scheme.partition("+")[0]
        if not url and is_production:
            yield Problem(path, f"the profile {config.profile} starts no local services and needs an address: {shown}")
        elif url and scheme not in allowed:
            yield Problem(path, f"allowed with the profile {config.profile}: {shown}")


def _secrets(config: VoxrayConfig) -> Iterator[Problem]:
    services = config.services
    urls: dict[KeyPath, tuple[str, str]] = {
        ("services", "redis", "url"): (services.redis.url, "name its variable in services.redis.password_env"),
        ("services", "milvus", "uri"): (services.milvus.uri, "name its variable in services.milvus.token_env"),
        ("services", "sql", "url"): (services.sql.url, "name its variable in services.sql.password_env"),
        ("services", "objects", "url"): (services.objects.url, "use the credentials of the machine's role"),
    }
    for path, (url, instead) in urls.items():
        if _holds_secret(url):
            yield Problem(path, f"holds a password, which does not belong in a file: {instead}", hides_value=True)
    names: dict[KeyPath, str] = {
        ("services", "redis", "password_env"): services.redis.password_env,
        ("services", "milvus", "token_env"): services.milvus.token_env,
        ("services", "sql", "password_env"): services.sql.password_env,
        ("gateway", "api_key_env"): config.gateway.api_key_env,
    }
    for path, name in names.items():
        if name and not _VARIABLE_NAME.fullmatch(name):
            message = (
                "takes the NAME of an environment variable (capitals, digits, underscores), never the secret itself"
            )
            yield Problem(path, message, hides_value=True)


def _holds_secret(url: str) -> bool:
    parts = urlsplit(url)
    words = ("password", "passwd", "secret", "token")
    return bool(parts.password) or any(word in key.lower() for key, _ in parse_qsl(parts.query) for word in words)


def _model_names(config: VoxrayConfig) -> Iterator[Problem]:
    for path, model in model_uses(config):
        if not model.name or PurePath(model.name).name != model.name:
            yield Problem(path, "takes the name of a catalog entry (`voxray models list`), not a path")


RULES: tuple[Callable[[VoxrayConfig], Iterator[Problem]], ...] = (
    _replica_counts,
    _accelerators,
    _engines,
    _answers,
    _routes,
    _stage_link,
    _turn_times,
    _ingress,
    _local_head_size,
    _scaling,
    _addresses,
    _secrets,
    _model_names,
)
