"""Terraform's tests share one moto for plans, and one for each environment that is applied."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.render.environment import node_environment
from tests.terraform.stand import ROOT, TERRAFORM, Stack, moto, product_config, terraform

_BOTH_CLUSTERS: dict[str, Any] = {
    "clusters": ["ec2", "eks"],
    "admin_role_arns": ["arn:aws:iam::123456789012:role/kubernetes-admin"],
}

PLANNED: dict[str, tuple[str, dict[str, Any]]] = {
    "small": ("example-small", {}),
    "production": ("example-production", _BOTH_CLUSTERS),
}
APPLIED: dict[str, tuple[str, dict[str, Any]]] = {
    "small": ("example-small", {"environment": node_environment(product_config())}),
    "production": ("example-production", {"deletion_protection": False} | _BOTH_CLUSTERS),
}


@pytest.fixture(scope="session", autouse=True)
def has_terraform() -> None:
    """Skip, loudly, where there is no Terraform; with VOXRAY_REQUIRE_TERRAFORM in the environment, fail."""
    if shutil.which("terraform"):
        return
    reason = "NOT CHECKED: infra/terraform, since this machine has no terraform (1.11 or newer)"
    if os.environ.get("VOXRAY_REQUIRE_TERRAFORM"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tools(has_terraform: None) -> Path:
    """The environment with checkov and moto."""
    made = subprocess.run([ROOT / "scripts" / "terraform-tools"], check=True, capture_output=True, text=True, cwd=ROOT)
    return ROOT / made.stdout.strip()


@dataclass(frozen=True)
class Errands:
    """Long commands that run while other tests do."""

    scan: Future[subprocess.CompletedProcess[str]]
    module_tests: Future[subprocess.CompletedProcess[str]]


def _scan(tools: Path) -> subprocess.CompletedProcess[str]:
    options = ["--framework", "terraform", "--skip-download", "--quiet", "--compact", "--output", "json"]
    command = [tools / "bin" / "python", "-m", "checkov.main", "--directory", TERRAFORM, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def _test_modules(folder: Path) -> subprocess.CompletedProcess[str]:
    settings = dict(os.environ) | {"TF_DATA_DIR": str(folder)}
    terraform(TERRAFORM, "init", "-backend=false", environment=settings)
    return terraform(TERRAFORM, "test", environment=settings, check=False)


@pytest.fixture(scope="session")
def errands(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Errands]:
    """Start the scan and the modules' tests; who needs the result waits for it."""
    with ThreadPoolExecutor(2) as pool:
        data = tmp_path_factory.mktemp("module-tests")
        yield Errands(pool.submit(_scan, tools), pool.submit(_test_modules, data))


@pytest.fixture(scope="session")
def planned(errands: Errands, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stack]]:
    """Every environment, whole, planned against an empty moto."""
    folder = tmp_path_factory.mktemp("planned")

    def plan(name: str, endpoint: str) -> Stack:
        environment, values = PLANNED[name]
        stack = Stack.copy(folder / name, environment, endpoint, values, gaps=False)
        assert stack.plan["resource_changes"]
        return stack

    with moto(tools, folder / "moto.log") as endpoint, ThreadPoolExecutor(2) as pool:
        yield dict(zip(PLANNED, pool.map(lambda name: plan(name, endpoint), PLANNED), strict=True))


@pytest.fixture(scope="session")
def applied(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stack]]:
    """Both environments, applied at the same time, each on a moto of its own (RDS instances of one moto clash)."""
    folder = tmp_path_factory.mktemp("applied")

    def apply(name: str, endpoint: str) -> Stack:
        environment, values = APPLIED[name]
        stack = Stack.copy(folder / name, environment, endpoint, values, gaps=True)
        stack.run("apply", "-auto-approve")
        assert stack.second_plan  # at once, beside the other environment's apply
        return stack

    with (
        moto(tools, folder / "moto-small.log") as small,
        moto(tools, folder / "moto-production.log") as production,
        ThreadPoolExecutor(2) as pool,
    ):
        yield dict(zip(APPLIED, pool.map(apply, APPLIED, (small, production)), strict=True))


@pytest.fixture(params=list(PLANNED))
def plan(request: pytest.FixtureRequest, planned: dict[str, Stack]) -> dict[str, Any]:
    """The plan of one environment."""
    return planned[request.param].plan


@pytest.fixture(params=list(APPLIED))
def stack(request: pytest.FixtureRequest, applied: dict[str, Stack]) -> Stack:
    """One applied environment."""
    return applied[request.param]
