"""A default stands once: what the configuration says is not said again by the type or function that uses the value."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("autoscaling", "cluster", "deployments", "ingest_jobs", "pipelines")
# What says nothing but "none": no decision is made twice by writing it.
EMPTY = {"''", "None", "0", "0.0", "()", "{}", "False", "True"}
# Types of configuration, where a default belongs: the product's, an engine's, a dataset's.
CONFIGURATION_BASES = ("Section", "Config", "Settings", "Rule")

# "path::owner.name": why the same name is another value.
ALLOWED: dict[str, str] = {
    "autoscaling/simulator/contenders.py::FixedContender.name": "name of a contender, not of a cluster",
    "autoscaling/simulator/contenders.py::RayDefaultContender.name": "name of a contender, not of a cluster",
    "cluster/caller/line.py::ask.timeout_s": "patience of the program that calls, not of a service",
    "cluster/catalog/remotes.py::HttpFile.timeout_s": "of a download",
    "cluster/cli/measuring/asr.py::evaluate.engine": "of the measuring program",
    "cluster/cli/scaling/plan.py::plan.profile": "a plan is made for rented machines, a call on this one",
    "cluster/services/ports.py::is_port_open.timeout_s": "of one look at a port",
    "deployments/engines/milvus/bulk.py::run.timeout_s": "of a bulk import",
    "deployments/engines/neuron/artifacts.py::ArtifactKey.dtype": "of a compiled engine, which has one only",
    "deployments/stage_link/listener.py::__init__.host": "loopback, until a deployment says its node",
    "ingest_jobs/speech/corpus/augment.py::Distortion.lead_s": "silence before distorted speech",
    "autoscaling/simulator/scenario.py::StageModel.drain_s": "how long a simulated replica takes to end",
    "autoscaling/simulator/scenario.py::Scenario.period_s": "step of the simulated clock",
    "autoscaling/simulator/scenario.py::StageModel.min_replicas": "of a simulated stage; scenarios are not configured",
    "cluster/cli/measuring/asr.py::evaluate.threads": "of the measuring program, which runs alone on the machine",
    "cluster/cli/measuring/retrieve.py::evaluate.threads": "of the measuring program, which runs alone on the machine",
    "ingest_jobs/speech/corpus/voices/kokoro.py::__init__.threads": "one of many processes that make a corpus",
    "ingest_jobs/speech/corpus/voices/piper.py::__init__.threads": "one of many processes that make a corpus",
    "ingest_jobs/speech/evaluation/engines.py::EngineChoice.threads": "of the measuring program",
}


def is_configuration(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith(CONFIGURATION_BASES) for base in node.bases)


def literal_of(value: ast.expr | None) -> str | None:
    """Return a default that is written out, as text; None for none, and for one that refers to another place."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "Field":
        value = next((keyword.value for keyword in value.keywords if keyword.arg == "default"), None)
    is_literal = value is not None and all(
        not isinstance(node, ast.Name | ast.Attribute | ast.Call) for node in ast.walk(value)
    )
    text = ast.unparse(value) if is_literal and value is not None else None
    return None if text in EMPTY else text


def fields_of(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            text = literal_of(item.value)
            if text is not None:
                yield item.target.id, text


def arguments_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str]]:
    plain = [*node.args.posonlyargs, *node.args.args]
    pairs = [*zip(plain[::-1], node.args.defaults[::-1], strict=False)]
    pairs += [(each, value) for each, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value]
    for argument, value in pairs:
        text = literal_of(value)
        if text is not None:
            yield argument.arg, text


def configured(sources: dict[str, str]) -> set[str]:
    """Return the names of all values of the configuration that have a default of substance."""
    names: set[str] = set()
    for text in sources.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and is_configuration(node):
                for item in node.body:
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and _says_more(item):
                        names.add(item.target.id)
    return names


def _says_more(item: ast.AnnAssign) -> bool:
    text = "" if item.value is None else ast.unparse(item.value)
    is_reference = text.startswith("Field(default=_")
    return is_reference or literal_of(item.value) is not None


def twins(sources: dict[str, str]) -> list[str]:
    """Return where a configured value has a default of its own again."""
    names, found = configured(sources), []
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and not is_configuration(node):
                said = [(f"{path}::{node.name}", pair) for pair in fields_of(node)]
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                said = [(f"{path}::{node.name}", pair) for pair in arguments_of(node)]
            else:
                continue
            found += [f"{where}.{name}" for where, (name, _) in said if name in names]
    return found


def product() -> dict[str, str]:
    paths = sorted(path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}


def referred_types() -> set[str]:
    """Return the types to whose defaults the configuration refers: there they stand, once."""
    return {"TurnDetection", "LinkPatience", "ApplicationLimits", "MaskingPolicy"}


def test_no_default_of_the_configuration_stands_twice() -> None:
    found = [where for where in twins(product()) if where.partition("::")[2].partition(".")[0] not in referred_types()]
    assert sorted(set(found) - ALLOWED.keys()) == []
    assert ALLOWED.keys() <= set(found), "an exception that is none any more"


def test_types_that_are_referred_to_are_so_for_every_default_they_share() -> None:
    schema = (ROOT / "cluster/config/schema.py").read_text("utf-8")
    assert twins({"schema.py": schema, "used.py": "class TurnDetection:\n    min_silence_ms: int = 192\n"}) == [
        "used.py::TurnDetection.min_silence_ms"
    ]
    by_hand = [
        f"{node.name}.{name}"
        for node in ast.walk(ast.parse(schema))
        if isinstance(node, ast.ClassDef) and node.name in ("TurnConfig", "StageLinkConfig", "ScalingConfig")
        for name, _ in fields_of(node)
    ]
    assert by_hand == ["TurnConfig.max_utterance_s", "ScalingConfig.policy", "ScalingConfig.variant_idle_s",
                       "ScalingConfig.gpu_isolation"]  # fmt: skip


def test_a_twin_is_found() -> None:
    config = "class AConfig(Section):\n    wait_s: float = Field(default=3.0, gt=0)\n    name: str = ''\n"
    used = "def wait(wait_s: float = 3.0, *, name: str = ''): ...\n"
    assert twins({"c.py": config, "u.py": used}) == ["u.py::wait.wait_s"]
