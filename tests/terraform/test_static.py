"""What needs no account: form, validity, the modules' tests with a mocked provider, a security scan."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from cluster.render.environment import node_environment
from tests.terraform.conftest import Errands
from tests.terraform.stand import (
    ENVIRONMENTS,
    MODULES,
    ROOT,
    TERRAFORM,
    NotLoopback,
    Stack,
    product_config,
    refuse_other_machines,
    terraform,
)

pytestmark = [pytest.mark.terraform, pytest.mark.timeout(300)]

_VARIABLE = re.compile(r'^variable "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
FOLDERS = [*MODULES, *ENVIRONMENTS]
MODULE_NAMES = {"network", "security", "data", "cluster_ec2", "cluster_eks", "ingress", "observability"}


def test_the_modules_are_those_that_are_documented() -> None:
    assert {module.name for module in MODULES} == MODULE_NAMES
    assert {environment.name for environment in ENVIRONMENTS} == {"example-small", "example-production"}


def test_all_files_are_in_canonical_form() -> None:
    assert terraform(TERRAFORM, "fmt", "-check", "-recursive", check=False).stdout == ""


@pytest.mark.parametrize("name", ["small", "production"])
def test_environments_are_valid(planned: dict[str, Stack], name: str) -> None:
    """A copy is validated, whole, with all modules."""
    answer = json.loads(planned[name].run("validate", "-json").stdout)
    assert (answer["valid"], answer["diagnostics"]) == (True, [])


def test_ray_s_switches_have_one_source_and_it_is_not_here() -> None:
    """`voxray render switches` gives them to Terraform; a second list would differ from the other renders one day."""
    owned = set(node_environment(product_config()))
    files = [*TERRAFORM.rglob("*.tf"), *TERRAFORM.rglob("*.tftpl")]
    found = {file.name: owned & set(re.findall(r"\w+", file.read_text("utf-8"))) for file in files}
    assert {name: names for name, names in found.items() if names} == {}
    assert len(files) > 20


def test_modules_pass_their_tests_with_a_mocked_provider(errands: Errands) -> None:
    done = errands.module_tests.result()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    summary = re.search(r"Success! (\d+) passed, 0 failed", done.stdout)
    assert summary is not None
    runs = sum(
        len(re.findall(r'^run "', f.read_text("utf-8"), re.MULTILINE)) for f in (TERRAFORM / "tests").glob("*.hcl")
    )
    assert int(summary[1]) == runs > 30


def test_the_security_scan_is_clean_and_saw_everything(errands: Errands) -> None:
    done = errands.scan.result()
    report = json.loads(done.stdout)
    failed = [(f["check_id"], f["resource"]) for f in report["results"]["failed_checks"]]
    assert failed == []
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 500


def test_every_skip_of_the_scan_has_a_reason() -> None:
    lines = [line for folder in FOLDERS for f in folder.glob("*.tf") for line in f.read_text("utf-8").splitlines()]
    skips = [line.strip() for line in lines if "checkov:skip" in line]
    assert skips
    assert [skip for skip in skips if not re.fullmatch(r"#checkov:skip=CKV2?_AWS_\d+: \S.{7,}", skip)] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_variable_is_typed_described_and_validated(folder: Path) -> None:
    found = _VARIABLE.findall((folder / "variables.tf").read_text("utf-8"))
    assert found
    for name, body in found:
        assert re.search(r"^  type +=", body, re.MULTILINE), name
        assert re.search(r'^  description = "\S.{10,}"$', body, re.MULTILINE), name
        is_bool = re.search(r"^  type +=\s+bool$", body, re.MULTILINE)  # its type leaves nothing to validate
        assert is_bool or "  validation {" in body, name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_output_is_described_and_files_are_short(folder: Path) -> None:
    text = (folder / "outputs.tf").read_text("utf-8")
    assert (
        len(re.findall(r'^output "', text, re.MULTILINE))
        == len(re.findall(r'^  description = "\S', text, re.MULTILINE))
        > 0
    )
    assert [file.name for file in folder.glob("*.tf") if len(file.read_text("utf-8").splitlines()) > 400] == []
    assert {"main.tf", "variables.tf", "outputs.tf", "versions.tf"} <= {file.name for file in folder.glob("*.tf")}


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda folder: folder.name)
def test_a_user_fills_about_ten_values(environment: Path) -> None:
    found = _VARIABLE.findall((environment / "variables.tf").read_text("utf-8"))
    required = {name for name, body in found if not re.search(r"^  default +=", body, re.MULTILINE)}
    example = (environment / "terraform.tfvars.example").read_text("utf-8")
    assert set(re.findall(r"^(\w+) +=", example, re.MULTILINE)) == required
    assert 8 <= len(required) <= 13


def test_readmes_are_those_that_the_tool_makes(tools: Path) -> None:
    checked = subprocess.run(
        [ROOT / "scripts" / "terraform-readmes", "--check"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_scripts_of_machines_are_shell(tools: Path) -> None:
    """Rendered by the module's tests; here the parts that are the same for all."""
    template = (TERRAFORM / "modules" / "cluster_ec2" / "templates" / "node.sh.tftpl").read_text("utf-8")
    plain = re.sub(r"\$\{[\w.]+\}", "value", re.sub(r"^%\{.*\}$|%\{[^}]*\}", "", template, flags=re.MULTILINE))
    checked = subprocess.run(
        ["bash", "-n"], input=plain.replace("$${", "${"), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://ec2.eu-central-1.amazonaws.com",
        "http://10.0.0.5:5000",
        "http://localhost.example.com:80",
        "http://localhost:80",
        "",
    ],
)
def test_an_endpoint_on_another_machine_is_refused(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(NotLoopback):
        refuse_other_machines(endpoint)
    with pytest.raises(NotLoopback):
        Stack(tmp_path, "example-small", endpoint).run("apply", "-auto-approve")


def test_the_wrapper_says_that_nothing_was_checked_without_terraform(tmp_path: Path) -> None:
    tools_of_the_shell = tmp_path / "bin"
    tools_of_the_shell.mkdir()
    for command in ("sh", "dirname", "mkdir", "cat"):
        (tools_of_the_shell / command).symlink_to(
            f"/bin/{command}" if Path(f"/bin/{command}").exists() else f"/usr/bin/{command}"
        )
    done = subprocess.run(
        [ROOT / "scripts" / "terraform", TERRAFORM, "version"],
        env={"PATH": str(tools_of_the_shell)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69
    assert "NOTHING was checked" in done.stderr
