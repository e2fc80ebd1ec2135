"""Loads files and variables into one checked tree.

    class defaults  <  profile file  <  user's file (voxray.yaml)  <  environment

Each layer overrides those before it. An unknown key, a wrong type or an impossible combination in any of them is a
ConfigError that names the file or variable. Nothing is created and no connection is made.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from cluster.config.checks import problems_in
from cluster.config.environment import FILE_VARIABLE, KeyPath, overrides_in
from cluster.config.layers import Layer, MergedTree, layer_from, merge, read_layer
from cluster.config.problems import problems_of, raise_for
from cluster.config.schema import VoxrayConfig
from pipelines.errors import ConfigError

PROFILES_FOLDER = Path(__file__).resolve().parent.parent / "profiles"
PROFILES: tuple[str, ...] = get_args(VoxrayConfig.model_fields["profile"].annotation)
DEFAULT_FILE = Path("voxray.yaml")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """The tree, and the file or variable that set each key that is not a class default."""

    config: VoxrayConfig
    origins: Mapping[KeyPath, str]


def load_config(profile: str | None, file: Path | None, environment: Mapping[str, str]) -> VoxrayConfig:
    """Read the configuration of this installation.

    Args:
        profile: name of the profile; None uses the environment's, else the file's, else "embedded".
        file: the user's file; None uses VOXRAY_CONFIG, else voxray.yaml in the working directory if it exists.
        environment: see `cluster.config.environment.process_environment`.

    Raises:
        ConfigError: something is wrong. The message names file or variable, key, value, and what is allowed.
    """
    return load_with_origins(profile, file, environment).config


def load_with_origins(profile: str | None, file: Path | None, environment: Mapping[str, str]) -> LoadedConfig:
    """Read the configuration as `load_config` does, and also return the origin of each value."""
    variables = [layer_from(override) for override in overrides_in(environment)]
    user_file = _user_file(file, environment)
    user = [read_layer(user_file)] if user_file else []
    argument = [Layer("--profile", {"profile": profile})] if profile else []
    name, chosen_by = _chosen_profile([*argument, *reversed(variables), *user])
    base = read_layer(PROFILES_FOLDER / f"{name}.yaml", origin=f"profile {name}")
    merged = merge([base, *user, *variables, Layer(chosen_by, {"profile": name})])
    return LoadedConfig(_parsed(merged), {path: layer.origin for path, layer in merged.layers.items()})


def _user_file(file: Path | None, environment: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    if environment.get(FILE_VARIABLE):
        return Path(environment[FILE_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _chosen_profile(layers: list[Layer]) -> tuple[str, str]:
    """Return the profile and the layer that chose it. `layers` come strongest first."""
    for layer in layers:
        name = layer.values.get("profile")
        if name is None:
            continue
        if name not in PROFILES:
            near = difflib.get_close_matches(str(name), PROFILES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{layer.origin}: profile = {name!r}: allowed: one of {', '.join(PROFILES)}{hint}")
        return name, layer.origin
    return "embedded", "default"


def _parsed(merged: MergedTree) -> VoxrayConfig:
    try:
        # Parsing by way of JSON in strict mode still accepts text as a path, but never text as a number.
        config = VoxrayConfig.model_validate_json(json.dumps(merged.values, default=str), strict=True)
    except ValidationError as error:
        raise_for(problems_of(error), merged)
        raise AssertionError("pydantic refused the tree without naming a problem") from error
    raise_for(problems_in(config), merged, config)
    return _with_absolute_paths(config, merged)


def _with_absolute_paths(config: VoxrayConfig, merged: MergedTree) -> VoxrayConfig:
    """Resolve relative paths against the folder of the file that gives them, or the working directory for variables."""
    updates: dict[str, Any] = {}
    for name in type(config.paths).model_fields:
        value = getattr(config.paths, name)
        if isinstance(value, Path):
            layer = merged.layer_of(("paths", name))
            base = layer.base if layer and layer.base else Path.cwd()
            updates[name] = (base / value.expanduser()).resolve()
    return config.model_copy(update={"paths": config.paths.model_copy(update=updates)}) if updates else config
