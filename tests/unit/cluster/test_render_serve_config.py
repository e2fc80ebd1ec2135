"""The rendered Serve configuration: golden files per profile, and what operators rely on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.config.loading import load_config
from cluster.render.changes import changes_between
from cluster.render.placement import deployments_of, placed_pool
from cluster.render.serve_config import configured_addresses, fingerprint, part_of, render_serve_config, render_yaml
from deployments.gateway.service import LiveSettings
from pipelines.errors import Component

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


NEURON = {
    "VOXRAY__POOLS__LANGUAGE_MODEL__NEURON__ENGINE": "neuron",
    "VOXRAY__POOLS__LANGUAGE_MODEL__NEURON__REPLICAS__NEURON_CORES": "2",
    "VOXRAY__POOLS__LANGUAGE_MODEL__NEURON__REPLICAS__CALLS": "12",
}


def rendered(environment: dict[str, str], profile: str = "nvidia", build: str = "") -> dict[str, Any]:
    config = load_config(profile, None, {**(ADDRESSES if profile == "nvidia" else {}), **environment})
    return render_serve_config(config, configured_addresses(config), build=build)


def application(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in found["applications"] if each["name"] == name)


def test_every_setting_reaches_a_replica_or_serve_itself() -> None:
    config = load_config("nvidia", None, {**ADDRESSES, **NEURON})
    applications = {
        item["name"]: item for item in render_serve_config(config, configured_addresses(config))["applications"]
    }
    reached = set(_leaves(applications["voxray"]["args"]["part"]))
    for component, name, pool in config.pools.each():
        settings = applications[placed_pool(component, name, pool).application]["args"]["part"]["settings"]
        reached |= set(_leaves(settings, ("pools", component.value, name)))
    elsewhere = {"ray", "topology", "paths", "scaling", "telemetry", "profile", "knowledge", "ingress"}
    elsewhere |= {"services", "routes"}  # as addresses, and in what the gateways are told in place
    missing = {path for path in set(_leaves(config.model_dump(mode="json"))) - reached if path[0] not in elsewhere}
    # Serve itself reads how replicas are laid, and the gateways' threads; nobody else does.
    assert {path for path in missing if "replicas" not in path and path[-1] != "machine"} == {("gateway", "threads")}


def test_parts_are_read_back_as_they_were() -> None:
    config = load_config("nvidia", None, {**ADDRESSES, **NEURON})
    for placed in deployments_of(config):
        part = part_of(config, placed, configured_addresses(config))
        assert type(part).model_validate(json.loads(part.model_dump_json())) == part
    model = application(rendered({}), "language-model-default")["args"]["part"]
    assert model["settings"]["max_num_seqs"] == 128
    assert model["num_gpus"] == 1
    assert model["models"]["llama-3-8b-instruct"].startswith("/var/lib/voxray/models/llama-3-8b-instruct/")


def _leaves(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(tree, dict):
        yield above
        return
    for key, value in tree.items():
        yield from _leaves(value, (*above, key))


def test_range_of_replicas_becomes_autoscaling() -> None:
    pool = "VOXRAY__POOLS__TRANSCRIBER__DEFAULT__"
    settings = {
        f"{pool}REPLICAS__MAX_REPLICAS": "4",
        f"{pool}REPLICAS__MAX_ONGOING_REQUESTS": "10",
        f"{pool}THREADS": "3",
    }
    (transcriber,) = application(rendered(settings, "embedded"), "transcriber-default")["deployments"]
    assert transcriber["autoscaling_config"] == {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 7}
    assert "num_replicas" not in transcriber
    assert transcriber["ray_actor_options"]["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "3"


def test_fingerprint_changes_with_the_code_and_the_configuration() -> None:
    first = fingerprint(rendered({}, build="1"))
    assert fingerprint(rendered({}, build="1")) == first
    assert fingerprint(rendered({}, build="2")) != first
    assert fingerprint(rendered({"VOXRAY__POOLS__TRANSCRIBER__DEFAULT__REPLICAS__NUM_CPUS": "3"}, build="1")) != first


def test_added_pool_is_an_application_of_its_own_and_changes_no_other() -> None:
    before, after = rendered({}), rendered({**NEURON, "VOXRAY__ROUTES__LANGUAGE_MODEL": "[default, neuron]"})
    changes = changes_between(before, after)
    assert {(change.deployment, change.effect, change.keys) for change in changes.deployments} == {
        ("Gateway", "in place", ("user_config",)),
        ("LanguageModel-neuron", "added", ()),
    }
    assert changes.keeps_calls
    assert changes.leaving == ()
    assert changes_between(after, before).leaving == ("language-model-neuron",)


def test_changed_engine_replaces_its_own_pool_only() -> None:
    changes = changes_between(rendered({}), rendered({"VOXRAY__POOLS__RETRIEVER__DEFAULT__CANDIDATES": "20"}))
    assert [(change.deployment, change.effect) for change in changes.deployments] == [("Retriever", "replaced")]


def test_recogniser_that_streams_takes_the_place_of_one_that_does_not_as_another_pool() -> None:
    changes = changes_between(
        rendered({}, "embedded"), rendered({"VOXRAY__POOLS__TRANSCRIBER__DEFAULT__ENGINE": "nemo"}, "embedded")
    )
    assert changes.leaving == ("transcriber-default",)
    assert {change.effect for change in changes.deployments if change.deployment == "Transcriber"} == {
        "added",
        "removed",
    }


def test_gateway_is_told_of_every_pool_and_route() -> None:
    offer = application(rendered(NEURON), "voxray")["deployments"][0]["user_config"]["offer"]
    settings = LiveSettings.model_validate({"accepts_calls": True, "offer": offer})
    neuron = settings.offer.pools[Component.LANGUAGE_MODEL]["neuron"]
    assert (neuron.application, neuron.deployment) == ("language-model-neuron", "LanguageModel-neuron")
    assert settings.offer.pools[Component.TRANSCRIBER]["default"].is_streaming
    assert settings.offer.routes[Component.LANGUAGE_MODEL] == ("default",)
