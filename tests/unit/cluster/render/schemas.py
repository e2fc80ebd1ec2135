"""Strict checks of manifests against the schemas in tests/data: a field that the API server would drop is an error."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

DATA = Path(__file__).resolve().parents[3] / "data"
KINDS = {
    "ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "NetworkPolicy": "io.k8s.api.networking.v1.NetworkPolicy",
    "PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
    "PodTemplate": "io.k8s.api.core.v1.PodTemplateSpec",
    "Service": "io.k8s.api.core.v1.Service",
    "ServiceAccount": "io.k8s.api.core.v1.ServiceAccount",
}


def faults_in(manifest: dict[str, Any]) -> list[str]:
    """Return what the schema of a manifest's kind says against it, as "path: message"."""
    if manifest["kind"] == "RayService":
        return _faults(_ray_service(), manifest)
    return kubernetes_faults(manifest["kind"], manifest)


def kubernetes_faults(kind: str, value: dict[str, Any]) -> list[str]:
    """Return what Kubernetes' schema of `kind` says against a value (a manifest, or a part of one)."""
    definitions = json.loads((DATA / "kubernetes" / "definitions.json").read_text("utf-8"))
    return _faults({**definitions, "$ref": f"#/$defs/{KINDS[kind]}"}, value)


def _faults(schema: dict[str, Any], value: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft7Validator(schema)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(value)]


@cache
def _ray_service() -> dict[str, Any]:
    schema = json.loads((DATA / "kuberay" / "rayservice-v1.json").read_text("utf-8"))
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return _strict(schema)


def _strict(node: Any) -> Any:
    """Translate a structural OpenAPI schema: an object takes its known fields only, and numbers may be text."""
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {key: _strict(value) for key, value in node.items() if key not in ("x-kubernetes-validations", "format")}
    is_open = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    if isinstance(node.get("properties"), dict) and node.get("type") == "object" and not is_open:
        made["additionalProperties"] = False
    return made
