"""Ray's own autoscaler on EC2: valid for Ray, as recorded, and refused where it does not fit what Terraform made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.config.schema import VoxrayConfig
from cluster.lifecycle.ray.head import head_environment
from cluster.render.environment import node_environment
from cluster.render.images import models_of
from cluster.render.kubernetes.manifests import kuberay_manifests
from cluster.render.local import local_plan
from cluster.render.ray_ec2 import (
    RayClusterOutput,
    node_files,
    ray_ec2_config,
    read_terraform_output,
    render_ray_ec2,
    terraform_switches,
)
from cluster.services.folder import open_state_folder
from pipelines.errors import ConfigError
from tests.unit.cluster.render.conftest import production

pytestmark = pytest.mark.unit
HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
TERRAFORM = HERE / "terraform_output.json"


def made() -> RayClusterOutput:
    return read_terraform_output(TERRAFORM)


def changed(key: str, change: dict[str, Any]) -> RayClusterOutput:
    value = yaml.safe_load(json.loads(TERRAFORM.read_text("utf-8"))["ray_cluster"]["value"])
    value["available_node_types"]["nvidia"][key] |= change
    return RayClusterOutput.model_validate(value)


@pytest.mark.filterwarnings("ignore")  # Ray's own, at its import
def test_ray_accepts_the_configuration(config: VoxrayConfig) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(ray_ec2_config(config, made())))


def test_all_files_of_nodes_are_as_recorded() -> None:
    # To renew after a wanted change: scripts/golden, and read the diff.
    files = [path for path in (GOLDEN / "ray_ec2").rglob("*") if path.is_file()]
    found = {path.relative_to(GOLDEN / "ray_ec2").as_posix(): path.read_text("utf-8") for path in files}
    assert node_files(production("two_kinds"), made()) == found


def test_node_types_are_the_pools_with_their_resources(config: VoxrayConfig) -> None:
    types = ray_ec2_config(config, made())["available_node_types"]
    assert types.keys() == {"head", *config.topology.pools()}
    assert types["head"]["resources"]["CPU"] == 0
    for name, pool in config.topology.pools().items():
        assert types[name]["resources"].get("GPU", 0) == pool.gpus
        assert types[name]["resources"].get("neuron_cores", 0) == pool.neuron_cores
        assert (types[name]["min_workers"], types[name]["max_workers"]) == (pool.min_nodes, pool.max_nodes)


def _apart_from_agents(text: str) -> Any:
    """Return a Serve configuration without the folder of the agents, which each kind of machines has elsewhere."""
    rendered = yaml.safe_load(text)
    for application in rendered["applications"]:
        application["args"]["part"].pop("agents_folder", None)
    return rendered


def test_switches_and_serve_configuration_are_the_same_in_all_renders(config: VoxrayConfig, tmp_path: Path) -> None:
    wanted = node_environment(config)
    files = node_files(config, made())
    assert dict(line.split("=", 1) for line in files["ray.env"].splitlines()) == wanted
    assert local_plan(config)["node_environment"] == wanted
    service = next(item for item in kuberay_manifests(config) if item["kind"] == "RayService")
    assert _apart_from_agents(service["spec"]["serveConfigV2"]) == _apart_from_agents(files["serve.yaml"])
    assert yaml.safe_load(files["serve.yaml"]) == local_plan(config)["serve"]
    ports = dict.fromkeys(("ray.fallback", "ray.haproxy-stats", "ray.haproxy-metrics"), 1)
    local = head_environment(config, open_state_folder(tmp_path), ports)
    # A local head has no other node that its calls could drain to, and nobody replaces it.
    alone = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", "RAY_gcs_rpc_server_reconnect_timeout_s": "60"}
    assert {name: local[name] for name in wanted} == {**wanted, **alone}


def test_workers_fetch_their_models_before_they_join() -> None:
    script = node_files(production("two_kinds"), made())["start-neuron.sh"]
    assert script.index("voxray models fetch llama-3-8b-instruct\n") < script.index("exec ray start")
    assert "--resources='{\"neuron_cores\": 2}'" in script


def test_machines_are_told_the_models_of_their_pool_and_carry_own_entries() -> None:
    catalog = HERE.parent / "preflight" / "catalog.yaml"
    config = production(paths__catalog=str(catalog), paths__mirror="s3://voxray-models/models")
    files = node_files(config, made())
    assert files["models-nvidia.txt"].split() == list(models_of(config, "nvidia"))
    assert "llama-3-8b-instruct" in files["models-nvidia.txt"]
    assert files["catalog.yaml"] == catalog.read_text("utf-8")
    assert yaml.safe_load(files["voxray.yaml"])["paths"] == {
        "catalog": "/etc/voxray/catalog.yaml",
        "mirror": "s3://voxray-models/models",
    }


def test_ingest_machines_without_the_resource_that_jobs_ask_for_are_refused() -> None:
    output = made()
    ingest = output.node_types["ingest"]
    bare = ingest.model_copy(update={"resources": {**ingest.resources, "ingest": 0}})
    types = {**output.node_types, "ingest": bare}
    with pytest.raises(ConfigError, match=r"pool 'ingest' offer 0 of the resource 'ingest'"):
        render_ray_ec2(production(), output.model_copy(update={"node_types": types}))


def test_pool_that_terraform_did_not_make_is_refused() -> None:
    output = made()
    types = {name: kind for name, kind in output.node_types.items() if name != "nvidia"}
    with pytest.raises(ConfigError, match=r"topology\.nvidia has nodes .* Terraform made no pool 'nvidia'"):
        render_ray_ec2(production(), output.model_copy(update={"node_types": types}))


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("resources", {"GPU": 4}, r"topology\.nvidia\.gpus is 1, and Terraform's machines offer 4"),
        ("resources", {"CPU": 3}, r"topology\.nvidia\.cpus is 7, and Terraform's machines offer 3"),
        ("labels", {"voxray-pool": "gpu"}, "lack the label voxray-pool=nvidia"),
    ],
)
def test_machine_of_another_kind_is_refused(key: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        render_ray_ec2(production(), changed(key, change))


@pytest.mark.parametrize(
    ("key", "value", "files"),
    [
        ("topology__nvidia__max_nodes", "17", {"ray.yaml"}),
        (
            "pools__transcriber__default__model",
            "whisper-tiny",
            {"voxray.yaml", "serve.yaml", "models-nvidia.txt", "start-nvidia.sh"},
        ),
        ("paths__mirror", "s3://other/models", {"voxray.yaml"}),
        ("pools__transcriber__default__replicas__calls", "16", {"voxray.yaml", "serve.yaml"}),
        ("ingress__longest_call_s", "5400", {"voxray.yaml", "serve.yaml", "ray.env", "ray.auto.tfvars.json"}),
    ],
)
def test_one_value_changes_the_files_that_it_should_and_no_other(key: str, value: str, files: set[str]) -> None:
    before, after = node_files(production(), made()), node_files(production(**{key: value}), made())
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == files


def test_machines_with_other_switches_are_refused(tmp_path: Path) -> None:
    config, content = production(), json.loads(TERRAFORM.read_text("utf-8"))
    file = tmp_path / "out.json"
    for value, is_right in (("3600", True), ("120", False)):
        environment = {**node_environment(config), "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": value}
        services = {"value": yaml.safe_dump({"environment": environment})}
        file.write_text(json.dumps({**content, "services": services}))
        if is_right:
            render_ray_ec2(config, read_terraform_output(file))
            continue
        with pytest.raises(ConfigError, match=r"HARD_STOP_AFTER_S is 120, not 3600.*voxray render switches"):
            render_ray_ec2(config, read_terraform_output(file))


def test_switches_are_terraforms_variable() -> None:
    config = production()
    assert json.loads(terraform_switches(config)) == {"environment": node_environment(config)}


def test_output_of_one_value_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "ray_cluster.yaml"
    file.write_text(json.loads(TERRAFORM.read_text("utf-8"))["ray_cluster"]["value"])
    assert read_terraform_output(file) == made()


def test_incomplete_output_is_refused_with_the_key(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_text('{"ray_cluster": {"value": "cluster_name: x"}}')
    with pytest.raises(ConfigError, match=r"ray_cluster\.provider"):
        read_terraform_output(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_terraform_output(tmp_path / "none.json")
