"""Each family of preflight rules by itself: silent about a sound tree, and about a mistake that is another family's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cluster.catalog.catalog import ModelCatalog
from cluster.config.loading import load_config
from cluster.preflight import addresses, models, secrets, times
from cluster.preflight.finding import Finding, Inspection, Rule
from cluster.render.ports import NODE_PORTS

pytestmark = pytest.mark.unit
HERE = Path(__file__).parent
OPERATOR = HERE.parent / "render" / "operator.yaml"


def inspection(
    several: Mapping[str, str] | None = None,
    *,
    profile: str = "nvidia",
    environment: Mapping[str, str] | None = None,
    is_here: bool = False,
    is_port_free: Callable[[int], bool] = lambda _port: True,
    **changes: str,
) -> Inspection:
    """Return what rules look at: an operator's sound tree (or a profile as it comes), with changes."""
    variables = {"VOXRAY__PATHS__CATALOG": str(HERE / "catalog.yaml")}
    variables |= {f"VOXRAY__{key.upper()}": value for key, value in {**(several or {}), **changes}.items()}
    config = load_config(profile, OPERATOR if profile == "nvidia" else None, variables)
    environment = environment or {}
    return Inspection(config, ModelCatalog.load(config, {}), environment, is_here, is_port_free)


def found(rules: tuple[Rule, ...], looked_at: Inspection) -> list[str]:
    return [finding.rule for rule in rules for finding in rule(looked_at)]


@pytest.mark.parametrize("family", [addresses, models, secrets, times])
def test_sound_trees_break_no_rule(family: object) -> None:
    rules: tuple[Rule, ...] = family.RULES  # type: ignore[attr-defined]
    assert found(rules, inspection()) == []
    assert found(rules, inspection(profile="scripted", is_here=True)) == []


def test_finding_says_what_then_and_how_to_mend_it() -> None:
    finding = Finding("drain", "it is too short", "calls are cut", "a longer one")
    assert str(finding) == "drain: it is too short. Then calls are cut. Fix: a longer one."


def test_only_trees_with_pools_of_nodes_are_for_several_machines() -> None:
    assert inspection().is_on_nodes
    assert not inspection(profile="scripted").is_on_nodes


@pytest.mark.parametrize(
    ("key", "at_the_edge", "beyond", "rule"),
    [
        ("topology__balancer__client_ping_s", "349", "350", "ping"),
        ("gateway__idle_timeout_s", "3600", "3601", "gateway-idle"),
        ("ingress__drain_s", "3600", "3599", "drain"),
        ("topology__balancer__deregistration_s", "3600", "3599", "deregistration"),
        ("topology__pods__termination_grace_s", "3611", "3610", "pod-grace"),
        ("topology__pods__cluster_deletion_delay_s", "3600", "3599", "cluster-deletion"),
    ],
)
def test_time_is_found_from_the_first_second_on(key: str, at_the_edge: str, beyond: str, rule: str) -> None:
    base = {"ingress__longest_call_s": "3600", "ingress__drain_s": "3600", "topology__balancer__idle_timeout_s": "350"}
    assert found(times.RULES, inspection({**base, key: at_the_edge})) == []
    assert found(times.RULES, inspection({**base, key: beyond})) == [rule]


def test_times_of_nodes_do_not_matter_on_one_machine() -> None:
    assert found(times.RULES, inspection(profile="scripted", ingress__drain_s="1")) == []


def test_deregistration_that_aws_cannot_give_asks_for_shorter_calls() -> None:
    looked_at = inspection(ingress__longest_call_s="7200", ingress__drain_s="7200")
    (finding,) = [finding for rule in times.RULES for finding in rule(looked_at)]
    assert finding.fix == "ingress.drain_s and ingress.longest_call_s at most 3600, AWS's limit"


@pytest.mark.parametrize("ports", NODE_PORTS, ids=lambda ports: ports.name)
def test_ingress_on_a_port_of_the_nodes_is_found_and_its_owner_named(ports: object) -> None:
    first, name = ports.first, ports.name  # type: ignore[attr-defined]
    looked_at = inspection(ingress__port=str(first))
    (finding,) = [finding for rule in addresses.RULES for finding in rule(looked_at)]
    assert finding.rule == "port-clash"
    assert name in finding.problem


def test_taken_port_is_asked_for_only_where_the_cluster_comes_up() -> None:
    asked: list[int] = []

    def is_taken(port: int) -> bool:
        asked.append(port)
        return False

    changes = {"ingress__port": "8000", "ray__dashboard_port": "8265"}
    elsewhere = inspection(changes, profile="scripted", is_port_free=is_taken)
    assert found(addresses.RULES, elsewhere) == []
    assert asked == []
    here = inspection(changes, profile="scripted", is_port_free=is_taken, is_here=True)
    assert found(addresses.RULES, here) == ["port-taken", "port-taken"]
    assert asked == [8000, 8265]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "0.0.0.0", "[::1]"])
def test_service_of_each_node_itself_is_found(host: str) -> None:
    looked_at = inspection(services__redis__url=f"rediss://{host}:6399/0")
    assert found(addresses.RULES, looked_at) == ["loopback"]


@pytest.mark.parametrize(("cidr", "rules"), [("100.64.0.0/16", []), ("172.32.0.0/16", ["public-range"])])
def test_only_private_ranges_are_let_in(cidr: str, rules: list[str]) -> None:
    assert found(addresses.RULES, inspection(topology__network__client_cidrs=f"[{cidr}]")) == rules


def test_secret_is_asked_for_only_on_the_machine_that_needs_it() -> None:
    assert set(found(secrets.RULES, inspection(is_here=True))) == {"secret-missing"}
    assert found(secrets.RULES, inspection(is_here=False)) == []


@pytest.mark.parametrize(("length", "rules"), [(secrets.SHORTEST_KEY - 1, ["weak-key"]), (secrets.SHORTEST_KEY, [])])
def test_key_is_weak_below_the_shortest_length(length: int, rules: list[str]) -> None:
    assert found(secrets.RULES, inspection(environment={"VOXRAY_API_KEY": "x" * length})) == rules


def test_service_without_a_secret_is_found_by_its_key() -> None:
    looked_at = inspection(services__sql__password_env="", services__milvus__token_env="")
    open_services = [finding for rule in secrets.RULES for finding in rule(looked_at)]
    assert [finding.problem.partition(" ")[0] for finding in open_services] == [
        "services.milvus.token_env",
        "services.sql.password_env",
    ]


def test_longest_utterance_that_fits_in_a_message_is_allowed() -> None:
    whole = {
        "pools__transcriber__default__engine": "whisper-ct2",
        "pools__transcriber__default__model": "whisper-large-v3-turbo",
    }
    fits_s = models.MESSAGE_BYTES // 32_000
    assert "utterance" not in found(models.RULES, inspection(whole, turn__max_utterance_s=str(fits_s)))
    assert "utterance" in found(models.RULES, inspection(whole, turn__max_utterance_s=str(fits_s + 1)))
    assert found(models.RULES, inspection(turn__max_utterance_s=str(fits_s + 1))) == []


@pytest.mark.parametrize("repository", ["", "/", "registry.internal:5000/voxray"])
def test_image_needs_a_repository_and_a_fixed_tag(repository: str) -> None:
    is_named = len(repository) > 1
    looked_at = inspection(topology__image_repository=repository, topology__image_tag="1.2.3")
    assert ("image" in found(models.RULES, looked_at)) is not is_named
    assert "image" in found(
        models.RULES, inspection(topology__image_repository=repository, topology__image_tag="latest")
    )
