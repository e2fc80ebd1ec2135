"""The rendered Serve configuration: golden files per profile, and what operators rely on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.config.loading import load_config
from cluster.config.schema import ReplicaConfig, TranscriberConfig, VoxrayConfig
from cluster.render.serve_config import (
    ENGINE_VARIABLE,
    GATEWAY_READS,
    configured_addresses,
    fingerprint,
    render_serve_config,
    render_yaml,
)
from deployments.engine_choice import EngineChoice

pytestmark = pytest.mark.unit
GOLDEN = Path(__file__).parent / "golden"
# Production profiles must be told where their services are. To renew the golden files after a wanted change:
# scripts/golden, and read the diff.
ADDRESSES = {
    "VOXRAY__SERVICES__REDIS__URL": "rediss://redis.internal:6379/0",
    "VOXRAY__SERVICES__MILVUS__URI": "https://milvus.internal:19530",
    "VOXRAY__SERVICES__SQL__URL": "postgresql://sql.internal/voxray",
    "VOXRAY__SERVICES__OBJECTS__URL": "s3://voxray/objects",
}


@pytest.mark.parametrize("profile", ["embedded", "nvidia", "inferentia", "scripted"])
def test_profile_renders_as_recorded(profile: str) -> None:
    config = load_config(profile, None, ADDRESSES if profile in ("nvidia", "inferentia") else {})
    assert render_yaml(config, configured_addresses(config)) == (GOLDEN / f"serve_{profile}.yaml").read_text()


def test_every_setting_reaches_a_replica_or_serve_itself() -> None:
    config = load_config("nvidia", None, {**ADDRESSES, "VOXRAY__LANGUAGE_MODEL__NEURON__IS_SECOND_POOL": "true"})
    application = render_serve_config(config, configured_addresses(config))["applications"][0]
    reached = set(_leaves(application["args"]["config"]))
    for deployment in application["deployments"]:
        own = json.loads(deployment["ray_actor_options"]["runtime_env"]["env_vars"].get(ENGINE_VARIABLE, "{}"))
        reached |= set(_leaves(own.get("settings", {}), (own.get("section", ""),)))
    elsewhere = {"ray", "topology", "paths", "scaling"}  # for those who lay out nodes; no replica reads them
    counts = {"min_replicas", "max_replicas", "num_cpus", "max_ongoing_requests", "surge_percent"}
    counts |= {"calls", "price_per_hour", "gpu_memory_bytes"}  # for the scaling policy, and for who shares a GPU
    missing = {path for path in set(_leaves(config.model_dump(mode="json"))) - reached if path[0] not in elsewhere}
    assert {path for path in missing if path[-1] not in counts} == {("ingress", "port")}


def test_settings_of_replicas_are_read_back_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("nvidia", None, ADDRESSES)
    application = render_serve_config(config, configured_addresses(config))["applications"][0]
    by_name = {item["name"]: item for item in application["deployments"]}
    variables = by_name["LanguageModel"]["ray_actor_options"]["runtime_env"]["env_vars"]
    monkeypatch.setenv(ENGINE_VARIABLE, variables[ENGINE_VARIABLE])
    args = application["args"]
    choice = EngineChoice(VoxrayConfig.model_validate(args["config"]), args["models"]).in_this_replica()
    read, written = choice.config.language_model, config.language_model
    assert (read.model, read.kv_cache_bytes, read.max_num_seqs) == (
        written.model,
        written.kv_cache_bytes,
        written.max_num_seqs,
    )
    assert read.replicas.num_gpus == 1
    assert choice.models["llama-3-8b-instruct"].startswith("/var/lib/voxray/models/llama-3-8b-instruct/")


def _leaves(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(tree, dict):
        yield above
        return
    for key, value in tree.items():
        yield from _leaves(value, (*above, key))


def test_range_of_replicas_becomes_autoscaling() -> None:
    replicas = ReplicaConfig(min_replicas=1, max_replicas=4, max_ongoing_requests=10, threads=3)
    config = VoxrayConfig(transcriber=TranscriberConfig(replicas=replicas))
    deployments = render_serve_config(config, configured_addresses(config))["applications"][0]["deployments"]
    transcriber = next(item for item in deployments if item["name"] == "Transcriber")
    assert transcriber["autoscaling_config"] == {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 7}
    assert "num_replicas" not in transcriber
    assert transcriber["ray_actor_options"]["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "3"


def test_fingerprint_changes_with_the_code_and_the_configuration() -> None:
    config = VoxrayConfig()
    addresses = configured_addresses(config)
    first = fingerprint(render_serve_config(config, addresses, build="1"))
    assert fingerprint(render_serve_config(config, addresses, build="1")) == first
    assert fingerprint(render_serve_config(config, addresses, build="2")) != first
    changed = config.model_copy(update={"transcriber": TranscriberConfig(replicas=ReplicaConfig(num_cpus=2))})
    assert fingerprint(render_serve_config(changed, addresses, build="1")) != first


def test_gateway_is_given_every_key_of_the_engines_that_it_reads() -> None:
    # A key that is not given would have its class default there, whatever the operator wrote.
    root = Path(__file__).parents[3] / "deployments"
    sources = [*(root / "gateway").glob("*.py"), root / "app.py", root / "pools" / "routing.py"]
    read = {
        match
        for source in sources
        for match in re.findall(
            r"config\.(transcriber|language_model|retriever|synthesizer)\.(\w+)", source.read_text("utf-8")
        )
    }
    assert len(read) > 5
    told = {(section, "model") for section in GATEWAY_READS}  # by `told_to_gateway`
    told.add(("transcriber", "is_streaming"))  # says what `engine` says
    given = {(section, key) for section, keys in GATEWAY_READS.items() for key in keys}
    assert read <= given | told
