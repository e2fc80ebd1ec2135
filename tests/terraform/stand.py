"""The test stand: moto on loopback, copies of the environments, and Terraform on them."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx

from cluster.config.loading import load_config
from cluster.config.schema import VoxrayConfig

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "infra" / "terraform"
MODULES = sorted(path for path in (TERRAFORM / "modules").iterdir() if path.is_dir())
ENVIRONMENTS = sorted(path for path in (TERRAFORM / "environments").iterdir() if path.is_dir())
GAPS = sorted((Path(__file__).parent / "moto_gaps").glob("*.tf"))
WRAPPER = ROOT / "scripts" / "terraform"

REGION = "eu-central-1"
ACCOUNT = "123456789012"  # moto's
NO_TERRAFORM = 69
_MOTO_START_S = 60


def product_config() -> VoxrayConfig:
    """Return the product's configuration for example-small: Terraform takes its switches, the renderer its pools."""
    return load_config("nvidia", Path(__file__).parent / "operator.yaml", {})


class NotLoopback(Exception):
    """An endpoint on another machine was given: applying there might change a real account."""


def refuse_other_machines(endpoint: str) -> None:
    """Raise NotLoopback unless the endpoint is an address of this machine's loopback."""
    host = urlsplit(endpoint).hostname or ""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False  # a name may lead anywhere
    if not is_loopback:
        raise NotLoopback(f"{endpoint!r}: Terraform is tested against a loopback address only")


def aws_variables(endpoint: str) -> dict[str, str]:
    """Return the environment in which Terraform, boto3 and Ray see moto, and nothing of a real account."""
    refuse_other_machines(endpoint)
    foreign = ("AWS_", "TF_VAR_", "TF_WORKSPACE", "TF_CLI_ARGS", "RAY_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return kept | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def moto(tools: Path, log: Path) -> Iterator[str]:
    """Run moto, with the patches of moto_server.py, and yield its address."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    environment = aws_variables(endpoint) | {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    server = Path(__file__).parent / "moto_server.py"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [tools / "bin" / "python", server, "127.0.0.1", str(port)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _await_moto(endpoint, process, log)
        yield endpoint
    finally:
        process.terminate()
        process.wait(20)


def _await_moto(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _MOTO_START_S
    while True:
        try:
            httpx.get(f"{endpoint}/moto-api/data.json", timeout=5, trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"moto did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.2)


def terraform(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run scripts/terraform on a folder; with `check`, a failure carries Terraform's own words."""
    done = subprocess.run(
        [WRAPPER, folder, *arguments],
        env=dict(environment if environment is not None else os.environ) | {"TF_CLI_ARGS": "-no-color"},
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"terraform {arguments[0]} in {folder.name}: {done.stderr[-6000:] or done.stdout[-6000:]}")
    return done


@dataclass(frozen=True)
class Stack:
    """A copy of infra/terraform, one environment of which is planned or applied against moto."""

    folder: Path
    environment: str
    endpoint: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def copy(cls, into: Path, environment: str, endpoint: str, values: Mapping[str, Any], *, gaps: bool) -> Stack:
        """Copy the tree; with `gaps`, without the resources that moto does not have."""
        shutil.copytree(TERRAFORM, into, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        for gap in GAPS if gaps else ():
            shutil.copy(gap, into / "modules" / gap.stem / "moto_gap_override.tf")
        stack = cls(into, environment, endpoint, values)
        (stack.root / "test_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
        (stack.root / "terraform.tfvars").write_bytes((stack.root / "terraform.tfvars.example").read_bytes())
        prerequisites = _prerequisites(endpoint) | {"aws_max_retries": 2}
        (stack.root / "test.auto.tfvars.json").write_text(json.dumps(prerequisites | dict(values)))
        stack.run("init")
        return stack

    @property
    def root(self) -> Path:
        return self.folder / "environments" / self.environment

    @property
    def name(self) -> str:
        return self.environment.replace("example-", "voxray-")

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Terraform on the environment, against moto."""
        settings = aws_variables(self.endpoint) | {"TF_DATA_DIR": str(self.folder / "data")}
        return terraform(self.root, *arguments, environment=settings, check=check)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The plan as JSON: `resource_changes` has what will be, and what is not known before."""
        self.run("plan", "-out=plan.bin")
        plan: dict[str, Any] = json.loads(self.run("show", "-json", "plan.bin").stdout)
        return plan

    @cached_property
    def second_plan(self) -> subprocess.CompletedProcess[str]:
        """The plan of what is applied; exit code 2 says that something would change. Made once, right after apply."""
        return self.run("plan", "-detailed-exitcode", check=False)

    def client(self, service: str) -> Any:
        """A boto3 client of this stack's moto."""
        refuse_other_machines(self.endpoint)
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def output(self, name: str) -> str:
        """One output of the applied stack, as it is."""
        return self.run("output", "-raw", name).stdout


def _prerequisites(endpoint: str) -> dict[str, Any]:
    """What a company has before Terraform: a certificate, and images of machines (moto knows some of Amazon's)."""
    access = {
        "endpoint_url": endpoint,
        "region_name": REGION,
        "aws_access_key_id": "testing",
        "aws_secret_access_key": "testing",
    }
    certificate = boto3.client("acm", **access).request_certificate(DomainName="voice.example.com")["CertificateArn"]
    ec2 = boto3.client("ec2", **access)
    patterns = {
        "cpu": "al2023-ami-2023*x86_64",
        "nvidia": "al2023-ami-ecs-gpu*x86_64*",
        "neuron": "al2023-ami-ecs-neuron*x86_64*",
    }
    images = {
        kind: min(i["ImageId"] for i in ec2.describe_images(Filters=[{"Name": "name", "Values": [p]}])["Images"])
        for kind, p in patterns.items()
    }
    return {"certificate_arn": certificate, "machine_images": images}
