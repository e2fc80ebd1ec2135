"""The environment variables that configure Voxray. `process_environment` is the only place that reads them.

    VOXRAY_PROFILE=nvidia            the profile
    VOXRAY_CONFIG=/etc/voxray.yaml   the file, instead of voxray.yaml in the working directory
    VOXRAY_STATE, VOXRAY_MODELS      short for VOXRAY__PATHS__STATE, VOXRAY__PATHS__MODELS
    VOXRAY__GATEWAY__MAX_CALLS=10    any key of the tree, sections joined by two underscores

Secrets are ordinary variables whose *names* are given in the configuration (`api_key_env` and the like).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.errors import ConfigError

PREFIX = "VOXRAY__"
ALIASES = {
    "VOXRAY_PROFILE": ("profile",),
    "VOXRAY_STATE": ("paths", "state"),
    "VOXRAY_MODELS": ("paths", "models"),
}
FILE_VARIABLE = "VOXRAY_CONFIG"

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Override:
    """One variable that sets one key: the variable, the key and the text."""

    variable: str
    path: KeyPath
    text: str


def process_environment() -> dict[str, str]:
    """Return a copy of this process's environment. Pass it on, also to child processes, instead of reading it again."""
    return dict(os.environ)


def overrides_in(environment: Mapping[str, str]) -> list[Override]:
    """Return the variables that set keys, sorted by name. Empty ones count as not set.

    Raises:
        ConfigError: a variable looks like an override but is malformed.
    """
    found: list[Override] = []
    for variable, text in sorted(environment.items()):
        if variable in ALIASES:
            if text:
                found.append(Override(variable, ALIASES[variable], text))
        elif variable.startswith(PREFIX):
            path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
            found.append(Override(variable, path, text))
        elif variable.startswith("VOXRAY_") and "__" in variable:
            corrected = PREFIX + variable.removeprefix("VOXRAY_")
            raise ConfigError(
                f"environment variable {variable}: two underscores follow VOXRAY; did you mean {corrected}?"
            )
    return found


def secret(environment: Mapping[str, str], name: str, *, needed_by: str) -> str:
    """Return the secret that the variable `name` holds; "" when `name` is "" (no secret configured).

    Raises:
        ConfigError: the named variable is not set.
    """
    if not name:
        return ""
    value = environment.get(name, "")
    if not value:
        raise ConfigError(f"environment variable {name} is not set, but {needed_by} names it as the holder of a secret")
    return value
