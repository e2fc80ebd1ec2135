"""From files and variables to one checked tree.

    class defaults  <  profile file  <  user's file (voxray.yaml)  <  environment

Every layer only overrides; an unknown key, a wrong type or an impossible combination in any of them is a ConfigError
that names the file or variable. Nothing is created and nothing is connected to.
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
    """The tree, and for each key that is not a class default the name of the file or variable that set it."""

    config: VoxrayConfig
    origins: Mapping[KeyPath, str]


def load_config(profile: str | None, file: Path | None, environment: Mapping[str, str]) -> VoxrayConfig:
    """Read the configuration of this installation.

    Args:
        profile: the profile by name; None: the environment's, else the file's, else "embedded".
        file: the user's file; None: VOXRAY_CONFIG, else voxray.yaml in the working directory if there is one.
        environment: see `cluster.config.environment.process_environment`.

    Raises:
        ConfigError: something is wrong; the message names file or variable, key, value, and what is allowed.
    """
    return load_with_origins(profile, file, environment).config


def load_with_origins(profile: str | None, file: Path | None, environment: Mapping[str, str]) -> LoadedConfig:
    """Read the configuration as `load_config` does, and tell where each value came from."""
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
    """Return the profile and who chose it; `layers` come strongest first."""
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
        # By way of JSON, in which "strict" still lets text be a path but no text be a number.
        config = VoxrayConfig.model_validate_json(json.dumps(merged.values, default=str), strict=True)
    except ValidationError as error:
        raise_for(problems_of(error), merged)
        raise AssertionError("pydantic refused the tree without naming a problem") from error
    raise_for(problems_in(config), merged, config)
    return _with_absolute_paths(config, merged)


def _with_absolute_paths(config: VoxrayConfig, merged: MergedTree) -> VoxrayConfig:
    """Let a relative path start at the folder of the file that says it (a variable's: at the working directory)."""
    updates: dict[str, Any] = {}
    for name in type(config.paths).model_fields:
        value = getattr(config.paths, name)
        if isinstance(value, Path):
            layer = merged.layer_of(("paths", name))
            base = layer.base if layer and layer.base else Path.cwd()
            updates[name] = (base / value.expanduser()).resolve()
    return config.model_copy(update={"paths": config.paths.model_copy(update=updates)}) if updates else config
