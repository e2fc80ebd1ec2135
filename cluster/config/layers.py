"""Layers of settings and how they are laid over each other, remembering where each value came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cluster.config.environment import KeyPath, Override
from cluster.config.schema import VoxrayConfig
from cluster.config.section import Section
from pipelines.errors import ConfigError

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings of one source. `origin` is how messages name it; relative paths in it start at `base`."""

    origin: str
    values: Tree
    base: Path | None = None


@dataclass(slots=True)
class MergedTree:
    """The layers laid over each other, and for every value the origin and base of the layer that set it."""

    values: Tree = field(default_factory=dict)
    layers: dict[KeyPath, Layer] = field(default_factory=dict)

    def layer_of(self, path: KeyPath) -> Layer | None:
        """Return the layer that set `path`, or the nearest key above it; None for a class default."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.layers:
                return self.layers[path[:length]]
        return None


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that appears twice is an error; plain YAML keeps the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} appears twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_layer(file: Path, *, origin: str | None = None) -> Layer:
    """Read a YAML file of settings.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or does not hold a mapping.
    """
    name = origin or str(file)
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), _StrictLoader)
    except FileNotFoundError:
        raise ConfigError(f"{name}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{name}{where}: {error.problem}") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: the file must hold sections such as `gateway:`, not a {type(values).__name__}")
    return Layer(name, values, file.resolve().parent)


def layer_from(override: Override) -> Layer:
    """Turn a variable into a layer; its text is read as YAML unless the key holds text.

    Raises:
        ConfigError: there is no such key, or the key is a whole section.
    """
    origin = f"environment variable {override.variable}"
    dotted = ".".join(override.path)
    expected: Any = VoxrayConfig
    for depth, key in enumerate(override.path):
        if not is_section(expected):
            raise ConfigError(f"{origin}: {'.'.join(override.path[:depth])} is a value, it has no keys below it")
        if key not in expected.model_fields:
            raise ConfigError(f"{origin}: unknown key {dotted}{suggestion(key, expected)}")
        expected = expected.model_fields[key].annotation
    if is_section(expected):
        keys = ", ".join(expected.model_fields)
        raise ConfigError(f"{origin}: {dotted} is a section; set one of its keys: {keys}")
    value: Any = override.text
    if expected is not str:
        try:
            value = yaml.safe_load(override.text)
        except yaml.YAMLError:
            value = override.text
    for key in reversed(override.path):
        value = {key: value}
    return Layer(origin, value)


def merge(layers: Iterable[Layer]) -> MergedTree:
    """Lay `layers` over each other, the last on top. Sections are merged key by key; an empty section is no change."""
    merged = MergedTree()
    for layer in layers:
        _lay(merged, merged.values, layer, layer.values, ())
    return merged


def _lay(merged: MergedTree, target: Tree, layer: Layer, values: Mapping[Any, Any], above: KeyPath) -> None:
    for raw_key, value in values.items():
        key = str(raw_key)
        path = (*above, key)
        if value is None and is_section(_annotation_at(path)):
            continue
        if isinstance(value, dict):
            below = target.get(key)
            if not isinstance(below, dict):
                below = target[key] = {}
            _lay(merged, below, layer, value, path)
            if value and is_section(_annotation_at(path)):
                continue
        else:
            target[key] = value
        merged.layers[path] = layer


def _annotation_at(path: KeyPath) -> Any:
    expected: Any = VoxrayConfig
    for key in path:
        if not is_section(expected) or key not in expected.model_fields:
            return None
        expected = expected.model_fields[key].annotation
    return expected


def section_at(path: KeyPath) -> type[Section] | None:
    """Return the section class at `path`, or None when `path` is a value or does not exist."""
    found = VoxrayConfig if not path else _annotation_at(path)
    return found if is_section(found) else None


def is_section(annotation: Any) -> bool:
    """Say whether a field of this type is a section of the tree."""
    return isinstance(annotation, type) and issubclass(annotation, Section)


def suggestion(key: str, section: type[Section]) -> str:
    """Return "; did you mean ...?", or the keys that exist when none is near."""
    near = difflib.get_close_matches(key, section.model_fields, n=1)
    return f"; did you mean {near[0]}?" if near else f"; allowed here: {', '.join(section.model_fields)}"
