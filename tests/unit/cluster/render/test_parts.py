"""The small parts that rendered files are made of: ports, times, names, policies, YAML, the nodes' settings."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.config.loading import load_config
from cluster.config.schema import VoxrayConfig
from cluster.render.config_file import agent_texts, config_files
from cluster.render.kubernetes.manifests import kuberay_manifests
from cluster.render.kubernetes.names import CONFIG_MOUNT, DEFAULT_INGRESS_PORT, ingress_port, metadata, own_labels
from cluster.render.kubernetes.network import network_policies, service_ports
from cluster.render.kubernetes.pods import head_template, worker_template
from cluster.render.ports import NODE_PORTS, PortRange
from cluster.render.times import LONGEST_DEREGISTRATION_S, call_times
from cluster.render.yaml_text import yaml_documents, yaml_text
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit
OPERATOR = Path(__file__).parent / "operator.yaml"


def production(**changes: str) -> VoxrayConfig:
    return load_config("nvidia", OPERATOR, {f"VOXRAY__{key.upper()}": value for key, value in changes.items()})


def policy(config: VoxrayConfig, name: str) -> dict[str, Any]:
    found = {each["metadata"]["name"]: each["spec"] for each in network_policies(config)}
    spec: dict[str, Any] = found[f"{config.topology.name}-{name}"]
    return spec


def test_port_range_holds_both_of_its_ends() -> None:
    ports = PortRange("workers", 10, 12)
    assert [port for port in range(9, 14) if port in ports] == [10, 11, 12]


def test_no_two_ranges_of_a_node_overlap() -> None:
    in_order = sorted(NODE_PORTS, key=lambda ports: ports.first)
    for before, after in itertools.pairwise(in_order):
        assert before.last < after.first, (before.name, after.name)


def test_times_left_at_zero_are_derived_from_the_calls() -> None:
    times = call_times(
        production(
            ingress__longest_call_s="900",
            ingress__drain_s="600",
            topology__balancer__deregistration_s="0",
            topology__pods__termination_grace_s="0",
            topology__pods__cluster_deletion_delay_s="0",
        )
    )
    assert (times.deregistration_s, times.gateway_shutdown_s) == (900, 610)
    assert (times.pod_grace_s, times.cluster_deletion_s) == (640, 930)


def test_configured_times_win_and_aws_limits_the_derived_one() -> None:
    times = call_times(production(topology__pods__termination_grace_s="77", topology__balancer__deregistration_s="88"))
    assert (times.pod_grace_s, times.deregistration_s) == (77, 88)
    long = call_times(production(ingress__longest_call_s="9000", topology__balancer__deregistration_s="0"))
    assert long.deregistration_s == LONGEST_DEREGISTRATION_S


def test_text_of_several_lines_is_a_block_and_nothing_is_a_reference() -> None:
    shared = {"a": 1}
    text = yaml_text({"z": "one\ntwo\n", "first": shared, "second": shared})
    assert text == "z: |\n  one\n  two\nfirst:\n  a: 1\nsecond:\n  a: 1\n"
    assert yaml.safe_load(text) == {"z": "one\ntwo\n", "first": {"a": 1}, "second": {"a": 1}}


def test_documents_are_one_file_with_a_mark_before_each() -> None:
    text = yaml_documents([{"a": 1}, {"b": 2}])
    assert text == "---\na: 1\n---\nb: 2\n"
    assert list(yaml.safe_load_all(text)) == [{"a": 1}, {"b": 2}]


def test_names_of_objects_begin_with_the_clusters() -> None:
    config = production(topology__name="desk", topology__namespace="calls")
    assert metadata(config)["name"] == "desk"
    assert metadata(config, "head")["name"] == "desk-head"
    assert metadata(config)["namespace"] == "calls"
    assert own_labels(config)["app.kubernetes.io/instance"] == "desk"


def test_ingress_without_a_port_has_the_usual_one() -> None:
    assert ingress_port(production(ingress__port="0")) == DEFAULT_INGRESS_PORT
    assert ingress_port(production(ingress__port="8123")) == 8123


def test_services_are_reached_on_their_own_or_their_schemes_port() -> None:
    config = production(
        services__redis__url="rediss://redis.internal/0",
        services__milvus__uri="https://milvus.internal:19530",
        services__sql__url="postgresql+psycopg://sql.internal/voxray",
    )
    assert service_ports(config) == [443, 5432, 6379, 19530]


def test_policy_without_callers_lets_nobody_in() -> None:
    config = production(topology__network__client_cidrs="[]", topology__network__service_cidrs="[]")
    assert policy(config, "calls")["ingress"] == []
    assert policy(config, "services")["egress"] == []
    closed = policy(config, "closed")
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in closed
    assert "egress" not in closed


def test_policy_lets_callers_in_on_the_ingress_port_alone() -> None:
    config = production(topology__network__client_cidrs="[10.1.0.0/16]", ingress__port="8123")
    assert policy(config, "calls")["ingress"] == [
        {"from": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"protocol": "TCP", "port": 8123}]}
    ]


def test_pods_run_without_rights_and_only_the_head_may_ask_kubernetes() -> None:
    config = production(topology__pods__termination_grace_s="77")
    name = "nvidia"
    pool = config.topology.pools()[name]
    head, worker = head_template(config)["spec"], worker_template(config, name, pool)["spec"]
    assert head["automountServiceAccountToken"] is True
    assert worker["automountServiceAccountToken"] is False
    assert worker["securityContext"]["runAsNonRoot"] is True
    assert worker["terminationGracePeriodSeconds"] == 77
    assert [taint["key"] for taint in worker["tolerations"]] == ["nvidia.com/gpu"]
    assert "initContainers" not in head


def test_node_is_told_engines_and_changes_but_no_topology() -> None:
    config = production(ingress__port="8123", paths__catalog=str(OPERATOR))
    tree = yaml.safe_load(config_files(config, "/etc/voxray")["voxray.yaml"])
    assert tree["profile"] == "nvidia"
    assert tree["ingress"]["port"] == 8123
    assert tree["paths"]["catalog"] == "/etc/voxray/catalog.yaml"
    assert tree["pools"]["language_model"]["default"]["engine"] == "vllm"
    assert "topology" not in tree


def test_nodes_carry_the_models_of_your_own_beside_the_tree(tmp_path: Path) -> None:
    own_entries = tmp_path / "mine.yaml"
    own_entries.write_text("models: {}\n")
    config = production(paths__catalog=str(own_entries))
    maps = {item["metadata"]["name"]: item["data"] for item in kuberay_manifests(config) if item["kind"] == "ConfigMap"}
    (carried,) = [data for name, data in maps.items() if name.endswith("config")]
    assert carried["catalog.yaml"] == "models: {}\n"
    assert yaml.safe_load(carried["voxray.yaml"])["paths"]["catalog"] == f"{CONFIG_MOUNT}/catalog.yaml"


def test_what_a_node_is_told_is_read_as_the_same_settings(tmp_path: Path) -> None:
    config = production()
    written = tmp_path / "voxray.yaml"
    written.write_text(config_files(config, "/etc/voxray")["voxray.yaml"])
    again = load_config(None, written, {})
    assert again.model_dump(exclude={"topology"}) == config.model_dump(exclude={"topology"})


def test_broken_agent_is_not_given_to_nodes(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text("no_such_key: 1\n")
    with pytest.raises(ConfigError, match=r"desk\.yaml"):
        agent_texts(production(paths__agents=str(tmp_path)))
