"""Ray's own autoscaler starts the machines that Terraform described, from the launch templates that Terraform made.

The machines are moto's and never join, so joining, draining and the accelerators' drivers stay untested here.
"""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.render.ray_ec2 import ray_ec2_config, read_terraform_output
from tests.terraform.stand import Stack, aws_variables, free_port, product_config

pytestmark = [pytest.mark.terraform_apply, pytest.mark.timeout(900)]

_START_S = 120
_LAUNCH_S = 120


def cluster_file(stack: Stack) -> dict[str, Any]:
    """Return the file that the head is given: rendered by the product out of Terraform's outputs."""
    outputs = stack.root / "outputs.json"
    outputs.write_text(stack.run("output", "-json").stdout, "utf-8")
    return ray_ec2_config(product_config(), read_terraform_output(outputs))


@pytest.fixture(scope="module")
def aws(applied: dict[str, Stack]) -> Iterator[Stack]:
    """The small environment, with this process's boto3 (Ray's, too) pointed at its moto."""
    stack = applied["small"]
    with pytest.MonkeyPatch.context() as patch:
        for key, value in aws_variables(stack.endpoint).items():
            patch.setenv(key, value)
        yield stack


@pytest.fixture(scope="module")
def bootstrapped(aws: Stack) -> dict[str, Any]:
    """The cluster file after Ray's own preparation, validation and bootstrap."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(cluster_file(aws))
    prepared["auth"]["ssh_private_key"] = os.devnull  # or bootstrap, which a head does not run, would make a key
    validate_config(prepared)
    return dict(bootstrap_aws(prepared))


def instances(stack: Stack, pool: str) -> list[dict[str, Any]]:
    """Return the living machines of a pool, by the tag that Ray's provider sets."""
    found = stack.client("ec2").describe_instances(
        Filters=[
            {"Name": "tag:ray-user-node-type", "Values": [pool]},
            {"Name": "instance-state-name", "Values": ["pending", "running"]},
        ]
    )
    return [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]


def end(stack: Stack, machines: list[dict[str, Any]]) -> None:
    if machines:
        stack.client("ec2").terminate_instances(InstanceIds=[machine["InstanceId"] for machine in machines])


def assert_is_of(stack: Stack, machine: dict[str, Any], instance_type: str, profile: str) -> None:
    config = yaml.safe_load(stack.output("ray_cluster"))
    subnets = config["available_node_types"][profile]["node_config"]["SubnetIds"]
    assert machine["InstanceType"] == instance_type
    assert machine["SubnetId"] in subnets
    assert machine["IamInstanceProfile"]["Arn"].endswith(f":instance-profile/{stack.name}-{profile}")
    assert machine["MetadataOptions"]["HttpTokens"] == "required"
    assert "PublicIpAddress" not in machine
    tags = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
    assert (tags["ray-cluster-name"], tags["voxray:environment"], tags["voxray:pool"]) == (
        stack.name,
        stack.name,
        profile,
    )


def test_ray_accepts_what_the_product_renders_from_terraform(bootstrapped: dict[str, Any], aws: Stack) -> None:
    types = bootstrapped["available_node_types"]
    assert set(types) == {"head", "gateway", "nvidia", "neuron", "ingest"}
    assert types["nvidia"]["node_config"]["InstanceType"] == "g6.2xlarge"
    assert types["neuron"]["node_config"]["InstanceType"] == "inf2.8xlarge"
    assert types["ingest"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    for name, node_type in types.items():
        config = node_type["node_config"]
        assert config["IamInstanceProfile"] == {"Name": f"{aws.name}-{name}"}
        assert config["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
        assert "KeyName" not in config, "nobody logs in by SSH"
        assert config["SecurityGroupIds"] == types["head"]["node_config"]["SecurityGroupIds"]


def test_bootstrap_makes_nothing_in_the_account(bootstrapped: dict[str, Any], aws: Stack) -> None:
    """Without roles, keys and groups of the templates, Ray would make its own, with full rights on EC2 and S3."""
    roles = [role["RoleName"] for role in aws.client("iam").list_roles(MaxItems=1000)["Roles"]]
    assert not [role for role in roles if role.startswith("ray")]
    assert aws.client("ec2").describe_key_pairs()["KeyPairs"] == []
    groups = aws.client("ec2").describe_security_groups()["SecurityGroups"]
    assert not [group for group in groups if "ray-autoscaler" in group["GroupName"]]


def test_the_node_provider_starts_and_ends_a_machine_of_each_pool(bootstrapped: dict[str, Any], aws: Stack) -> None:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    provider = AWSNodeProvider(bootstrapped["provider"], bootstrapped["cluster_name"])
    before = set(provider.non_terminated_nodes({}))
    wanted = {"gateway": "m7i.2xlarge", "nvidia": "g6.2xlarge", "neuron": "inf2.8xlarge", "ingest": "m7i.xlarge"}
    for pool, instance_type in wanted.items():
        tags = {"ray-node-type": "worker", "ray-user-node-type": pool, "ray-node-name": "w", "ray-launch-config": "c"}
        config = copy.deepcopy(bootstrapped["available_node_types"][pool]["node_config"])
        (made,) = provider.create_node(config, tags, 1)
        (machine,) = instances(aws, pool)
        assert machine["InstanceId"] == made
        assert_is_of(aws, machine, instance_type, pool)
        assert (machine.get("InstanceLifecycle") == "spot") is (pool == "ingest")
    started = set(provider.non_terminated_nodes({})) - before
    assert len(started) == len(wanted)
    provider.terminate_nodes(list(started))
    assert set(provider.non_terminated_nodes({})) == before


def test_a_template_by_name_is_enough_on_the_head(aws: Stack) -> None:
    """The head has the file as rendered, and EC2 reads the template (moto: type, image and groups of it only)."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = cluster_file(aws)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    tags = {"ray-node-type": "worker", "ray-user-node-type": "nvidia", "ray-node-name": "w", "ray-launch-config": "c"}
    made = provider.create_node(config["available_node_types"]["nvidia"]["node_config"], tags, 1)
    (machine,) = instances(aws, "nvidia")
    assert (machine["InstanceType"], list(made)) == ("g6.2xlarge", [machine["InstanceId"]])
    assert machine["SubnetId"] in config["available_node_types"]["nvidia"]["node_config"]["SubnetIds"]
    end(aws, [machine])


@contextmanager
def ray_head(stack: Stack, config: dict[str, Any], folder: Path) -> Iterator[dict[str, str]]:
    """Run `ray start --head` with the real autoscaler on loopback; yield the environment in which a driver joins it."""
    port = free_port()
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    token = folder / "token"
    token.write_text("t" * 64, "utf-8")
    environment = aws_variables(stack.endpoint) | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_AUTO_CONNECT": "0",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_TMPDIR": str(folder / "r"),
        "TMPDIR": str(folder / "r"),
    }
    (folder / "r").mkdir()
    command = [Path(sys.executable).parent / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    options = [f"--port={port}", "--num-cpus=1", "--include-dashboard=false", f"--autoscaling-config={file}"]
    with (folder / "ray.log").open("wb") as log:
        head = subprocess.Popen([*command, *options], env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield environment | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        head.send_signal(signal.SIGTERM)
        try:
            head.wait(30)
        finally:
            with _nothing_left():
                os.killpg(head.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _nothing_left() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return


_DEMAND = """
import ray, time
ray.init()

@ray.remote(num_gpus=1, num_cpus=1)
def on_gpu(): return 1

@ray.remote(resources={"neuron_cores": 2}, num_cpus=1)
def on_neuron(): return 1

@ray.remote(resources={"ingest": 0.001}, num_cpus=1)
def on_ingest(): return 1

wanted = [on_gpu.remote(), on_gpu.remote(), on_neuron.remote(), on_ingest.remote()]
print("asked", flush=True)
time.sleep(600)
"""


def test_demand_for_a_gpu_for_neuron_cores_and_of_a_job_starts_the_right_machines(
    bootstrapped: dict[str, Any], aws: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Path("/tmp") / f"vx{os.getpid()}"  # Ray's sockets need a short path
    folder.mkdir()
    config = copy.deepcopy(bootstrapped)
    with ray_head(aws, config, folder) as environment:
        driver = _driver(environment, folder)
        try:
            _await_machines(aws, folder, {"nvidia": 2, "neuron": 1, "ingest": 1})
        finally:
            driver.kill()
            driver.wait(20)
    found = {pool: instances(aws, pool) for pool in config["available_node_types"]}
    try:
        assert {pool: len(machines) for pool, machines in found.items()} == {
            "head": 1,  # Terraform's own, which the autoscaler recognised
            "gateway": 1,  # the pool's minimum
            "nvidia": 2,
            "neuron": 1,
            "ingest": 1,
        }
        for machine in found["nvidia"]:
            assert_is_of(aws, machine, "g6.2xlarge", "nvidia")
        assert_is_of(aws, found["neuron"][0], "inf2.8xlarge", "neuron")
        assert_is_of(aws, found["gateway"][0], "m7i.2xlarge", "gateway")
        assert_is_of(aws, found["ingest"][0], "m7i.xlarge", "ingest")
    finally:
        end(aws, [machine for pool, machines in found.items() if pool != "head" for machine in machines])


def _driver(environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a program that wants two GPUs and a pair of neuron_cores, once the head answers."""
    deadline = time.monotonic() + _START_S
    while True:
        with (folder / "driver.log").open("wb") as log:
            driver = subprocess.Popen([sys.executable, "-c", _DEMAND], env=environment, stdout=log, stderr=log)
        while driver.poll() is None:
            if b"asked" in (folder / "driver.log").read_bytes():
                return driver
            time.sleep(0.2)
        if time.monotonic() > deadline:
            raise AssertionError((folder / "driver.log").read_text()[-3000:] + (folder / "ray.log").read_text()[-3000:])
        time.sleep(1)


def _await_machines(stack: Stack, folder: Path, wanted: dict[str, int]) -> None:
    deadline = time.monotonic() + _LAUNCH_S
    while any(len(instances(stack, pool)) < count for pool, count in wanted.items()):
        if time.monotonic() > deadline:
            logs = [f.read_text(errors="replace")[-3000:] for f in folder.glob("r/ray/session_latest/logs/monitor.*")]
            raise AssertionError(f"{wanted} did not start in {_LAUNCH_S} s: {logs}")
        time.sleep(0.5)
