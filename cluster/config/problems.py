"""Reports wrong settings to the person who wrote them: source, key, value, and what is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from cluster.config.environment import KeyPath
from cluster.config.layers import MergedTree, keys_at, sections_at, suggestion
from cluster.config.schema import VoxrayConfig
from pipelines.errors import ConfigError

_USERINFO = re.compile(r"(?<=://)[^@/\s]*:[^@/\s]*(?=@)")
_QUERY_SECRET = re.compile(r"(?i)([?&][^=&]*(?:password|passwd|secret|token|key)[^=&]*=)[^&\s]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in the tree. `hides_value` keeps the value out of the message because it may be a secret."""

    path: KeyPath
    message: str
    hides_value: bool = False


def masked(text: str) -> str:
    """Return `text` with the passwords of the URLs in it replaced by ***."""
    return _QUERY_SECRET.sub(r"\1***", _USERINFO.sub("***", text))


def problems_of(error: ValidationError) -> list[Problem]:
    """Translate the errors that pydantic found."""
    return [_problem_of(detail) for detail in error.errors()]


def _problem_of(detail: Mapping[str, Any]) -> Problem:
    path = tuple(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        keys = keys_at(path[:-1])
        # The value of a misspelt key may be anything, even a secret.
        return Problem(path, f"unknown key{suggestion(path[-1], keys) if keys else ''}", hides_value=True)
    if detail["type"] == "unknown_engine":
        return Problem((*path, "engine"), detail["msg"])
    keys = keys_at(path)
    if keys is not None:
        return Problem(path, f"is a section with the keys {', '.join(keys)}")
    if path[-1] == "[key]":
        return Problem(
            path[:-1],
            "is not a valid name of a pool, which has lower-case letters, digits and hyphens",
            hides_value=True,
        )
    return Problem(path, f"allowed: {allowed_at(path)}")


def raise_for(problems: Iterable[Problem], merged: MergedTree, config: VoxrayConfig | None = None) -> None:
    """Raise one ConfigError that names every problem. Does nothing when there is none.

    Args:
        problems: the problems.
        merged: the merged layers, for the origin of each value.
        config: the parsed tree, for values that no layer set.
    """
    lines = [_line(problem, merged, config) for problem in problems]
    if not lines:
        return
    if len(lines) == 1:
        raise ConfigError(lines[0])
    raise ConfigError("\n".join([f"{len(lines)} problems:", *(f"  - {line}" for line in lines)]))


def _line(problem: Problem, merged: MergedTree, config: VoxrayConfig | None) -> str:
    layer = merged.layer_of(problem.path)
    key = ".".join(problem.path)
    value = _value_at(problem.path, merged.values if config is None else config)
    origin = layer.origin if layer else "not set" if value == "" else "default"
    shown = "" if problem.hides_value or value == "" else f" = {masked(json.dumps(value, default=str))}"
    return f"{origin}: {key}{shown}: {problem.message}"


def _value_at(path: KeyPath, tree: Any) -> Any:
    for key in path:
        tree = tree.get(key, "") if isinstance(tree, dict) else getattr(tree, key, "")
    return tree


def allowed_at(path: KeyPath) -> str:
    """Describe in words what the key at `path` accepts, for example "integer, at least 1"."""
    for section in sections_at(path[:-1]):
        schema = section.model_json_schema()
        node = schema.get("properties", {}).get(path[-1])
        if node is not None:
            node = _resolved(node, schema)
            if "anyOf" in node:
                return " or ".join(_described(_resolved(choice, schema)) for choice in node["anyOf"])
            return _described(node)
    return "another value"


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in node:
        resolved: Mapping[str, Any] = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return resolved
    return node


def _described(node: Mapping[str, Any]) -> str:
    if "enum" in node:
        return "one of " + ", ".join(str(choice) for choice in node["enum"])
    names = {"string": "text", "null": "empty", "boolean": "true or false"}
    words = [node.get("format") or names.get(node.get("type", ""), node.get("type", "any"))]
    bounds = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    words += [f"{phrase} {node[name]:g}" for name, phrase in bounds.items() if name in node]
    return ", ".join(words)
