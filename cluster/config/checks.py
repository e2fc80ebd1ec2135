"""What no single key can get wrong: combinations that cannot work, told before anything starts.

Each rule is a generator of problems over the parsed tree; `RULES` lists them all.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from pathlib import PurePath
from urllib.parse import parse_qsl, urlsplit

from autoscaling.policy.schedule import parse_entry
from cluster.config.environment import KeyPath
from cluster.config.problems import Problem
from cluster.config.schema import ReplicaConfig, VoxrayConfig

PRODUCTION_PROFILES = frozenset({"nvidia", "inferentia"})
DEPLOYMENTS = ("gateway", "transcriber", "language_model", "retriever", "synthesizer")
MODEL_DEPLOYMENTS = ("transcriber", "language_model", "synthesizer")
# Of an output of NeMo's cache-aware models: eight feature frames of 10 ms.
FRAME_MS = 80
_VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


def problems_in(config: VoxrayConfig) -> list[Problem]:
    """Return every combination of settings in `config` that cannot work."""
    return [problem for rule in RULES for problem in rule(config)]


def _replicas(config: VoxrayConfig) -> Iterator[tuple[str, ReplicaConfig]]:
    for name in DEPLOYMENTS:
        yield name, getattr(config, name).replicas


def _replica_counts(config: VoxrayConfig) -> Iterator[Problem]:
    for name, replicas in _replicas(config):
        if replicas.max_replicas < replicas.min_replicas:
            message = f"must be at least {name}.replicas.min_replicas, which is {replicas.min_replicas}"
            yield Problem((name, "replicas", "max_replicas"), message)


def _accelerators(config: VoxrayConfig) -> Iterator[Problem]:
    for name, replicas in _replicas(config):
        at: KeyPath = (name, "replicas")
        if replicas.neuron_cores and replicas.num_gpus:
            yield Problem((*at, "neuron_cores"), f"{name} cannot have GPUs too (num_gpus = {replicas.num_gpus:g})")
        if replicas.num_gpus > 1 and replicas.num_gpus != int(replicas.num_gpus):
            yield Problem((*at, "num_gpus"), "must be a fraction below 1 or a whole number: Ray shares only one GPU")
        if config.profile not in PRODUCTION_PROFILES and (replicas.num_gpus or replicas.neuron_cores):
            key = "num_gpus" if replicas.num_gpus else "neuron_cores"
            yield Problem((*at, key), f"the profile {config.profile} has no accelerator; allowed: 0")


def _profile_accelerators(config: VoxrayConfig) -> Iterator[Problem]:
    for name, replicas in _replicas(config):
        at: KeyPath = (name, "replicas")
        if config.profile == "inferentia" and replicas.num_gpus:
            yield Problem((*at, "num_gpus"), "an Inferentia node has no GPU; allowed: 0")
        if config.profile == "nvidia" and replicas.neuron_cores:
            yield Problem((*at, "neuron_cores"), "an NVIDIA node has no NeuronCores; allowed: 0")
        is_model = name in MODEL_DEPLOYMENTS and not getattr(config, name).engine.startswith("scripted")
        if config.profile == "nvidia" and is_model and not replicas.num_gpus:
            yield Problem((*at, "num_gpus"), "the profile nvidia needs a GPU, or a fraction of one, for this engine")


def _language_model_engine(config: VoxrayConfig) -> Iterator[Problem]:
    model, replicas = config.language_model, config.language_model.replicas
    if model.engine == "neuron" and config.profile != "inferentia":
        yield Problem(("language_model", "engine"), f"runs on Inferentia only, and the profile is {config.profile}")
    if model.engine == "vllm" and config.profile == "inferentia":
        yield Problem(("language_model", "engine"), "does not run on Inferentia; allowed there: neuron, scripted")
    if model.engine == "neuron" and not replicas.neuron_cores:
        yield Problem(("language_model", "replicas", "neuron_cores"), "the engine neuron needs at least 1")
    neuron = model.neuron
    if neuron.is_second_pool and model.engine == "neuron":
        yield Problem(("language_model", "neuron", "is_second_pool"), "is for another engine's side; here neuron is it")
    if neuron.is_second_pool and (neuron.replicas.num_gpus or not neuron.replicas.neuron_cores):
        message = "the Neuron pool needs whole NeuronCores, and no GPU (num_gpus)"
        yield Problem(("language_model", "neuron", "replicas", "neuron_cores"), message)
    if 0 < replicas.num_gpus < 1 and model.gpu_memory_utilization > replicas.num_gpus:
        message = (
            f"is a share of the whole GPU, of which this deployment has {replicas.num_gpus:g} "
            "(language_model.replicas.num_gpus); Ray does not isolate memory, so it must not be more"
        )
        yield Problem(("language_model", "gpu_memory_utilization"), message)
    if model.max_tokens >= model.max_model_len:
        message = f"must leave room for the prompt within language_model.max_model_len = {model.max_model_len}"
        yield Problem(("language_model", "max_tokens"), message)


def _streaming_transcriber(config: VoxrayConfig) -> Iterator[Problem]:
    transcriber = config.transcriber
    if transcriber.engine != "nemo":
        return
    at = "transcriber"
    if config.profile == "inferentia":
        yield Problem((at, "engine"), "the images of Inferentia clusters have no NeMo; allowed there: whisper-ct2")
    if transcriber.chunk_ms % FRAME_MS:
        message = f"must be a multiple of {FRAME_MS}, the time of one of the model's frames (80, 160, 560, 1120)"
        yield Problem((at, "chunk_ms"), message)
    if transcriber.device == "cuda" and not transcriber.replicas.num_gpus:
        yield Problem((at, "device"), "needs a GPU, or a fraction of one (transcriber.replicas.num_gpus)")
    if transcriber.device == "cpu" and transcriber.replicas.num_gpus:
        message = f"leaves the GPU idle that transcriber.replicas.num_gpus = {transcriber.replicas.num_gpus:g} takes"
        yield Problem((at, "device"), message)


def _stage_link(config: VoxrayConfig) -> Iterator[Problem]:
    link = config.transcriber.link
    if link.answer_s >= link.wait_s:
        message = f"must be less than transcriber.link.wait_s = {link.wait_s:g}, or no other replica is ever tried"
        yield Problem(("transcriber", "link", "answer_s"), message)


def _turn_times(config: VoxrayConfig) -> Iterator[Problem]:
    turn = config.turn
    if turn.min_silence_ms > turn.max_silence_ms:
        yield Problem(
            ("turn", "min_silence_ms"), f"must be at most turn.max_silence_ms, which is {turn.max_silence_ms}"
        )
    if turn.speculation_silence_ms > turn.max_silence_ms:
        message = f"must be at most turn.max_silence_ms, which is {turn.max_silence_ms}: later than the turn's end"
        yield Problem(("turn", "speculation_silence_ms"), message)


def _ingress(config: VoxrayConfig) -> Iterator[Problem]:
    if not _is_loopback(config.ingress.host) and not config.gateway.api_key_env:
        message = "is open to other machines, so gateway.api_key_env must name the variable that holds the clients' key"
        yield Problem(("ingress", "host"), message)
    if config.ingress.drain_s > config.ingress.longest_call_s:
        message = f"is longer than the longest call (ingress.longest_call_s = {config.ingress.longest_call_s})"
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
    neuron = config.language_model.neuron
    wanted_cores = neuron.replicas.min_replicas * neuron.replicas.neuron_cores if neuron.is_second_pool else 0
    if wanted_cores > config.ray.neuron_cores:
        message = f"the Neuron pool's smallest number of replicas asks for {wanted_cores}; they would wait for ever"
        yield Problem(("ray", "neuron_cores"), message)
    needed = sum(replicas.min_replicas * replicas.num_cpus for _, replicas in _replicas(config))
    if needed > config.ray.num_cpus:
        yield Problem(
            ("ray", "num_cpus"), f"the smallest number of replicas asks for {needed:g}; they would wait for ever"
        )


def _scaling(config: VoxrayConfig) -> Iterator[Problem]:
    for index, entry in enumerate(config.scaling.schedule):
        try:
            parse_entry(entry.days, entry.start, entry.end, entry.calls)
        except ValueError as error:
            yield Problem(("scaling", "schedule", str(index)), str(error))
    replicas = config.transcriber.replicas
    if (
        config.scaling.policy == "ray"
        and config.transcriber.is_streaming
        and replicas.max_replicas > replicas.min_replicas
    ):
        message = "streams are no requests to Ray, which would never add one: scaling.policy calls, or min_replicas"
        yield Problem(("transcriber", "replicas", "max_replicas"), message)
    if config.scaling.policy != "calls":
        return
    neuron = config.language_model.neuron
    counted: list[tuple[KeyPath, ReplicaConfig]] = [((name, "replicas"), found) for name, found in _replicas(config)]
    if neuron.is_second_pool:
        counted.append((("language_model", "neuron", "replicas"), neuron.replicas))
    for path, replicas in counted:
        if (path[0] == "gateway" or replicas.max_replicas > replicas.min_replicas) and not replicas.calls:
            message = "must say how many calls one replica holds (`voxray plan` does), for scaling.policy = calls"
            yield Problem((*path, "calls"), message)


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
            yield Problem(path, f"holds a password, and a file is no place for one: {instead}", hides_value=True)
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
    named = {
        ("gateway", "vad_model"): config.gateway.vad_model,
        ("gateway", "turn_model"): config.gateway.turn_model,
        ("transcriber", "model"): config.transcriber.model,
        ("language_model", "model"): config.language_model.model,
        ("retriever", "embedding_model"): config.retriever.embedding_model,
        ("synthesizer", "model"): config.synthesizer.model,
    }
    if config.retriever.rerank_model:
        named["retriever", "rerank_model"] = config.retriever.rerank_model
    for path, name in named.items():
        if not name or PurePath(name).name != name:
            yield Problem(path, "takes the name of a catalog entry (`voxray models list`), not a path")


RULES: tuple[Callable[[VoxrayConfig], Iterator[Problem]], ...] = (
    _replica_counts,
    _accelerators,
    _profile_accelerators,
    _language_model_engine,
    _streaming_transcriber,
    _stage_link,
    _turn_times,
    _ingress,
    _local_head_size,
    _scaling,
    _addresses,
    _secrets,
    _model_names,
)
