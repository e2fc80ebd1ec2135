"""Manifests for KubeRay: valid, as recorded, and changed only where a setting means it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.config.schema import VoxrayConfig
from cluster.render.environment import node_environment
from cluster.render.kubernetes.manifests import kuberay_manifests, render_kuberay
from pipelines.errors import ConfigError
from tests.unit.cluster.render.conftest import production
from tests.unit.cluster.render.schemas import faults_in, kubernetes_faults

pytestmark = pytest.mark.unit
GOLDEN = Path(__file__).parent / "golden"
ENGINES_AND_GATEWAY = {"Gateway", "Transcriber", "Retriever", "LanguageModel", "Synthesizer"}


def service_of(config: VoxrayConfig) -> dict[str, Any]:
    return next(item for item in kuberay_manifests(config) if item["kind"] == "RayService")


def groups_of(config: VoxrayConfig) -> list[dict[str, Any]]:
    cluster = service_of(config)["spec"]["rayClusterConfig"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_every_manifest_is_valid(config: VoxrayConfig) -> None:
    manifests = kuberay_manifests(config)
    assert {item["kind"] for item in manifests} >= {"RayService", "NetworkPolicy", "PodDisruptionBudget"}
    assert [fault for item in manifests for fault in faults_in(item)] == []
    for group in groups_of(config):
        assert kubernetes_faults("PodTemplate", group["template"]) == []


def test_field_that_the_api_server_would_drop_is_a_fault() -> None:
    manifest = service_of(production())
    manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["gracePeriod"] = 1
    assert len(faults_in(manifest)) == 1


@pytest.mark.filterwarnings("ignore")  # Ray's own, at its import
def test_serve_configuration_within_is_valid_for_serve(config: VoxrayConfig) -> None:
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(yaml.safe_load(service_of(config)["spec"]["serveConfigV2"]))
    assert {item.name for each in schema.applications for item in each.deployments} >= ENGINES_AND_GATEWAY


@pytest.mark.parametrize("name", ["nvidia", "two_kinds"])
def test_manifests_are_as_recorded(name: str) -> None:
    # To renew after a wanted change: scripts/golden, and read the diff.
    assert render_kuberay(production(name)) == (GOLDEN / f"kuberay_{name}.yaml").read_text("utf-8")


def test_profile_without_pools_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"topology\.gateway\.max_nodes"):
        render_kuberay(VoxrayConfig())


def test_every_deployment_has_a_pool_with_its_label_and_its_resources(config: VoxrayConfig) -> None:
    groups = {group["groupName"]: group for group in groups_of(config)[1:]}
    serve = yaml.safe_load(service_of(config)["spec"]["serveConfigV2"])
    for deployment in (item for each in serve["applications"] for item in each["deployments"]):
        options = deployment["ray_actor_options"]
        group = groups[options["label_selector"]["voxray-pool"]]
        assert group["labels"] == options["label_selector"]
        offered = {name: float(amount) for name, amount in group["resources"].items()}
        assert offered["CPU"] >= options["num_cpus"]
        assert offered.get("GPU", 0) >= options["num_gpus"]
        assert offered.get("neuron_cores", 0) >= options.get("resources", {}).get("neuron_cores", 0)


def test_each_kind_of_node_has_its_own_image_and_its_own_models() -> None:
    groups = {group["groupName"]: group["template"]["spec"] for group in groups_of(production("two_kinds"))[1:]}
    images = {name: spec["containers"][0]["image"] for name, spec in groups.items()}
    assert images["nvidia"] == "images.internal/voxray/nvidia:0.1.0"
    assert len({images["gateway"], images["nvidia"], images["neuron"]}) == 3
    fetched = {name: spec["initContainers"][0]["command"][3:] for name, spec in groups.items()}
    assert fetched["neuron"] == ["llama-3-8b-instruct"]
    assert fetched["gateway"] == ["silero-vad", "smart-turn-v3.2"]


def test_switches_are_the_same_on_every_node(config: VoxrayConfig) -> None:
    wanted = {name: value for name, value in node_environment(config).items() if name != "RAY_AUTH_MODE"}
    for group in groups_of(config):
        env = {item["name"]: item.get("value") for item in group["template"]["spec"]["containers"][0]["env"]}
        assert {name: env[name] for name in wanted} == wanted


def test_no_secret_is_written_and_every_secret_is_referred_to(config: VoxrayConfig) -> None:
    for group in groups_of(config):
        env = group["template"]["spec"]["containers"][0]["env"]
        referred = {item["name"] for item in env if "valueFrom" in item}
        assert referred == {"VOXRAY_API_KEY", "VOXRAY_MILVUS_TOKEN", "VOXRAY_REDIS_PASSWORD", "VOXRAY_SQL_PASSWORD"}


def test_pods_are_closed_but_for_calls_operator_scrape_and_services() -> None:
    policies = {item["metadata"]["name"]: item["spec"] for item in kuberay_manifests(production()) if _is_policy(item)}
    closed = policies.pop("voxray-closed")
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in closed
    opened = [rule for spec in policies.values() for rule in [*spec.get("ingress", []), *spec.get("egress", [])]]
    assert all(rule.get("from") or rule.get("to") for rule in opened)
    assert policies["voxray-calls"]["ingress"][0]["from"] == [{"ipBlock": {"cidr": "10.20.0.0/16"}}]
    ports = {port["port"] for port in policies["voxray-services"]["egress"][0]["ports"]}
    assert ports == {443, 5432, 6379, 19530}


def _is_policy(item: dict[str, Any]) -> bool:
    return bool(item["kind"] == "NetworkPolicy")


def test_own_balancer_waits_for_calls_and_is_internal() -> None:
    manifests = kuberay_manifests(production(topology__balancer__node_port="0"))
    assert [item for item in manifests if item["kind"] == "Service"] == []
    service = service_of(production(topology__balancer__node_port="0"))["spec"]["serveService"]
    assert kubernetes_faults("Service", service) == []
    assert service["spec"]["loadBalancerSourceRanges"] == ["10.20.0.0/16"]
    assert service["spec"]["ports"] == [{"name": "serve", "port": 8000}]
    prefix = "service.beta.kubernetes.io/aws-load-balancer-"
    notes = {name.removeprefix(prefix): text for name, text in service["metadata"]["annotations"].items()}
    assert notes["scheme"] == "internal"
    assert "deregistration_delay.timeout_seconds=3600," in notes["target-group-attributes"]


def test_calls_go_to_the_pods_of_this_version_of_the_cluster_only(config: VoxrayConfig) -> None:
    service = next(item for item in kuberay_manifests(config) if item["kind"] == "Service")
    selector = service["spec"]["selector"]
    assert selector.pop("ray.io/node-type") == "worker"  # KubeRay's own label
    for group in groups_of(config):
        assert selector.items() <= group["template"]["metadata"]["labels"].items()


def test_what_makes_a_second_cluster_changes_its_version_and_what_is_applied_in_place_does_not() -> None:
    def version(**changes: str) -> str:
        return str(groups_of(production(**changes))[0]["template"]["metadata"]["labels"]["voxray-cluster"])

    assert version(topology__image_tag="0.2.0") != version()
    assert version(pools__language_model__default__replicas__max_replicas="9") == version()


def test_switch_of_calls_can_be_applied_by_itself() -> None:
    config = production()
    calls = list(yaml.safe_load_all(render_kuberay(config, "calls")))
    cluster = list(yaml.safe_load_all(render_kuberay(config, "cluster")))
    assert [item["kind"] for item in calls] == ["Service"]
    assert [*cluster, *calls] == list(yaml.safe_load_all(render_kuberay(config)))


NODES = r"RayService\.spec\.rayClusterConfig\.(headGroupSpec|workerGroupSpecs\.\w+)\.template\.spec\."
SERVE = r"RayService\.spec\.serveConfigV2\.applications\.[\w-]+\."


# A change of the nodes makes a second cluster: its pods and the service of calls say so.
VERSION = (
    r"(RayService\.spec\.rayClusterConfig\.\S+\.metadata\.labels|Service\.voxray-calls\.spec\.selector)\.voxray-cluster"
)


def env(*names: str) -> str:
    return rf"{NODES}(containers|initContainers)\.\S+\.env\.({'|'.join(names)})\.value"


# One setting, its new value, and where alone the manifests may differ (and must): patterns of paths.
CHANGES: list[tuple[str, str, list[str]]] = [
    (
        "pools__language_model__default__replicas__max_replicas",
        "9",
        [SERVE + r"deployments\.LanguageModel\.autoscaling_config\.max_replicas", r"ConfigMap.*max_replicas"],
    ),
    (
        "pools__language_model__default__kv_cache_bytes",
        "4294967296",
        [SERVE + r"args\.part\.settings\.kv_cache_bytes", r"ConfigMap.*kv_cache_bytes"],
    ),
    (
        "pools__synthesizer__default__threads",
        "2",
        [
            SERVE + r"args\.part\.settings\.threads",
            SERVE + r"deployments\.Synthesizer\.ray_actor_options\.runtime_env\..*",
            r"ConfigMap.*threads",
        ],
    ),
    (
        "gateway__default_agent",
        "fernhollow",
        [SERVE + r"args\.part\.gateway\.default_agent", r"ConfigMap.*default_agent"],
    ),
    (
        "ingress__longest_call_s",
        "5400",
        [
            VERSION,
            env("RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S", "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"),
            SERVE + r"args\.part\.longest_call_s",
            r"RayService\.spec\.rayClusterDeletionDelaySeconds",
            r"ConfigMap.*longest_call_s",
        ],
    ),
    (
        "ingress__drain_s",
        "1800",
        [
            VERSION,
            env(
                "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
                "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S",
                "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S",
            ),
            NODES + "terminationGracePeriodSeconds",
            SERVE + r"deployments\.Gateway\.graceful_shutdown_timeout_s",
            r"ConfigMap.*drain_s",
        ],
    ),
    (
        "topology__nvidia__max_nodes",
        "17",
        [r"RayService\.spec\.rayClusterConfig\.workerGroupSpecs\.nvidia\.maxReplicas"],
    ),
    ("topology__image_tag", "0.2.0", [VERSION, NODES + r"(containers|initContainers)\.\S+\.image"]),
    (
        "topology__nvidia__image",
        "x/y:1",
        [VERSION, NODES.replace(r"\w+", "nvidia") + r"(containers|initContainers)\.\S+\.image"],
    ),
    (
        "topology__network__client_cidrs",
        "[10.21.0.0/16]",
        [
            r"NetworkPolicy\.voxray-calls\.spec\.ingress\.0\.from\.0\.ipBlock\.cidr",
        ],
    ),
    (
        "topology__balancer__node_port",
        "30900",
        [r"Service\.voxray-calls\.spec\.ports\.serve\.nodePort"],
    ),
    (
        "services__milvus__uri",
        "https://milvus.internal:20000",
        [
            SERVE + r"args\.part\.addresses\.milvus_uri",
            r"NetworkPolicy\.voxray-services\.spec\.egress\.0\.ports\.\d\.port",
            r"ConfigMap.*uri",
        ],
    ),
]


@pytest.mark.parametrize(("key", "value", "patterns"), CHANGES, ids=[key for key, _, _ in CHANGES])
def test_one_value_changes_what_it_should_and_nothing_else(key: str, value: str, patterns: list[str]) -> None:
    before = dict(_leaves(_tree(kuberay_manifests(production()))))
    after = dict(_leaves(_tree(kuberay_manifests(production(**{key: value})))))
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    unexpected = [path for path in changed if not any(re.fullmatch(pattern, path) for pattern in patterns)]
    assert unexpected == []
    idle = [pattern for pattern in patterns if not any(re.fullmatch(pattern, path) for path in changed)]
    assert idle == []


def _tree(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the manifests by kind and name, with the YAML and JSON that is text in them opened up."""
    tree: dict[str, Any] = {}
    for item in manifests:
        if item["kind"] == "RayService":
            item["spec"]["serveConfigV2"] = yaml.safe_load(item["spec"]["serveConfigV2"])
            tree["RayService"] = item
            continue
        if item["kind"] == "ConfigMap":
            item["data"] = {name: yaml.safe_load(text) for name, text in item["data"].items()}
        tree.setdefault(item["kind"], {})[item["metadata"]["name"]] = item
    return tree


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, list):
        node = {
            str(item.get("name") or item.get("groupName") or at) if isinstance(item, dict) else str(at): item
            for at, item in enumerate(node)
        }
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path, node
