"""What a deploy would do, told before it is done."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.render.changes import Changes, changes_between
from cluster.render.serve_config import configured_addresses, render_serve_config
from tests.unit.cluster.render.conftest import production

pytestmark = pytest.mark.unit


def rendered(name: str = "nvidia", **changes: str) -> dict[str, Any]:
    config = production(name, **changes)
    return render_serve_config(config, configured_addresses(config))


def effects(changes: Changes) -> dict[str, str]:
    return {change.deployment: change.effect for change in changes.deployments}


def test_same_configuration_changes_nothing() -> None:
    assert changes_between(rendered(), rendered()).is_empty


def test_count_changes_in_place() -> None:
    changes = changes_between(rendered(), rendered(pools__transcriber__default__replicas__max_replicas="9"))
    assert effects(changes) == {"Transcriber": "in place"}
    assert changes.keeps_calls


def test_new_model_replaces_its_engine_and_tells_the_gateway_in_place() -> None:
    changes = changes_between(rendered(), rendered(pools__language_model__default__model="llama-3-70b-instruct"))
    assert effects(changes) == {"LanguageModel": "replaced", "Gateway": "in place"}
    assert changes.keeps_calls


def test_setting_of_the_gateway_replaces_the_gateways_alone_and_drains_calls() -> None:
    changes = changes_between(rendered(), rendered(turn__max_silence_ms="900"))
    assert effects(changes) == {"Gateway": "replaced"}
    assert not changes.keeps_calls


def test_more_cpus_for_gateways_replace_gateways_only() -> None:
    changes = changes_between(rendered(), rendered(gateway__replicas__num_cpus="2"))
    assert effects(changes) == {"Gateway": "replaced"}
    assert not changes.keeps_calls


def test_second_pool_is_added() -> None:
    assert effects(changes_between(rendered(), rendered("two_kinds")))["LanguageModel-neuron"] == "added"
    assert effects(changes_between(rendered("two_kinds"), rendered()))["LanguageModel-neuron"] == "removed"


def test_other_port_needs_a_restart() -> None:
    changes = changes_between(rendered(), rendered(ingress__port="8001"))
    assert changes.needs_restart == ("http_options",)
    assert not changes.is_empty
