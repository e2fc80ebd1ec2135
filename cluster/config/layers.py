"""Layers of settings and how they are merged, keeping track of the origin of each value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cluster.config.engines import DEFAULT_ENGINES, engine_names, spec_of
from cluster.config.environment import KeyPath, Override
from cluster.config.pools import DEFAULT_POOL, PoolConfig
from cluster.config.schema import VoxrayConfig
from cluster.config.section import Section
from pipelines.errors import Component, ConfigError

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one source. `origin` is its name in messages, and relative paths in it start at `base`."""

    origin: str
    values: Tree
    base: Path | None = None


@dataclass(slots=True)
class MergedTree:
    """The merged layers, and for every value the origin and base of the layer that set it."""

    values: Tree = field(default_factory=dict)
    layers: dict[KeyPath, Layer] = field(default_factory=dict)

    def layer_of(self, path: KeyPath) -> Layer | None:
        """Return the layer that set `path` or the nearest key above it, or None for a class default."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.layers:
                return self.layers[path[:length]]
        return None


class _StrictLoader(yaml.SafeLoader):
    """A YAML loader that refuses duplicate keys, of which plain YAML would silently keep the last."""

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
    """Turn a variable into a layer. Its text is read as YAML unless the key holds text.

    Raises:
        ConfigError: there is no such key, or the key is a whole section.
    """
    origin = f"environment variable {override.variable}"
    dotted = ".".join(override.path)
    for depth in range(len(override.path)):
        keys = keys_at(override.path[:depth])
        if keys is None:
            raise ConfigError(f"{origin}: {'.'.join(override.path[:depth])} is a value and has no keys below it")
        if override.path[depth] not in keys and not is_open(override.path[:depth]):
            raise ConfigError(f"{origin}: unknown key {dotted}{suggestion(override.path[depth], keys)}")
    below = keys_at(override.path)
    if below is not None:
        raise ConfigError(f"{origin}: {dotted} is a section; set one of its keys: {', '.join(below)}")
    value: Any = override.text
    if annotation_at(override.path) is not str:
        try:
            value = yaml.safe_load(override.text)
        except yaml.YAMLError:
            value = override.text
    for key in reversed(override.path):
        value = {key: value}
    return Layer(origin, value)


def merge(layers: Iterable[Layer]) -> MergedTree:
    """Merge `layers`, of which later ones win. Sections are merged key by key; an empty section changes nothing."""
    merged = MergedTree()
    for layer in layers:
        _lay(merged, merged.values, layer, layer.values, ())
    return merged


def _lay(merged: MergedTree, target: Tree, layer: Layer, values: Mapping[Any, Any], above: KeyPath) -> None:
    _forget_former_engine(target, values, above)
    for raw_key, value in values.items():
        key = str(raw_key)
        path = (*above, key)
        if value is None and is_section(annotation_at(path)) and not is_open(above):
            continue
        if isinstance(value, dict):
            below = target.get(key)
            if not isinstance(below, dict):
                below = target[key] = {}
            _lay(merged, below, layer, value, path)
            if value and keys_at(path) is not None:
                continue
        else:
            target[key] = value
        merged.layers[path] = layer


def _forget_former_engine(target: Tree, values: Mapping[Any, Any], path: KeyPath) -> None:
    """Drop lower layers' settings for a different engine than the chosen one, which need not have the same keys."""
    component = component_at(path)
    if component is None or "engine" not in values or not target:
        return
    default = DEFAULT_ENGINES[component]
    if values["engine"] != target.get("engine", default) and values["engine"] in engine_names(component):
        kept = {*spec_of(component, values["engine"]).settings.model_fields, *PoolConfig.model_fields} - {"model"}
        for key in [key for key in target if key not in kept]:
            del target[key]


def annotation_at(path: KeyPath) -> Any:
    """Return the type of the key at `path`, or None if there is no such key. An engine's keys depend on its name.

    A key that several engines of a stage share is assumed to have one type.
    """
    expected: Any = VoxrayConfig
    for depth, key in enumerate(path):
        if is_open(path[:depth]):
            expected = PoolConfig
            continue
        below = _sections_of(path[:depth], expected)
        found = [section.model_fields[key].annotation for section in below if key in section.model_fields]
        if not found:
            return None
        expected = found[0]
    return expected


def _sections_of(path: KeyPath, annotation: Any) -> list[type[Section]]:
    """Return the sections that may occur at `path`. Where an engine is chosen, these are those of all engines."""
    component = component_at(path)
    if component is None:
        return [annotation] if is_section(annotation) else []
    types = [spec_of(component, name).settings for name in engine_names(component)]
    return [*types, PoolConfig] if path[0] == "pools" else [*types]


def sections_at(path: KeyPath) -> list[type[Section]]:
    """Return the sections that may occur at `path`."""
    return _sections_of(path, annotation_at(path) if path else VoxrayConfig)


def component_at(path: KeyPath) -> Component | None:
    """Return the component whose engine is chosen at `path`, or None if no engine is chosen there."""
    chosen = {3: "pools", 2: "gateway"}.get(len(path))
    if chosen is None or path[0] != chosen or path[1] not in set(Component):
        return None
    component = Component(path[1])
    return component if engine_names(component) else None


def is_open(path: KeyPath) -> bool:
    """Return whether any name may occur below `path`, as for the pools of a stage, which the operator names."""
    return len(path) == 2 and path[0] == "pools"


def keys_at(path: KeyPath) -> list[str] | None:
    """Return the keys that may occur at `path`, or None if `path` is a value or does not exist."""
    if is_open(path):
        return [DEFAULT_POOL]
    sections = sections_at(path)
    return list(dict.fromkeys(key for section in sections for key in section.model_fields)) or None


def is_section(annotation: Any) -> bool:
    """Return whether a field of this type is a section of the tree."""
    return isinstance(annotation, type) and issubclass(annotation, Section)


def suggestion(key: str, keys: Iterable[str]) -> str:
    """Return "; did you mean ...?", or the existing keys when none is similar."""
    known = list(keys)
    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; allowed here: {', '.join(known)}"
