"""The options that select a command's configuration, and the configuration they select."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cluster.config.schema import VoxrayConfig

ProfileOption = Annotated[str | None, typer.Option(help="Profile: embedded, nvidia, inferentia or scripted.")]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="Settings file. Default: VOXRAY_CONFIG, else voxray.yaml.")
]


def config_of(profile: str | None, file: Path | None) -> VoxrayConfig:
    """Return the configuration of a profile, a settings file and this process's environment.

    Raises:
        ConfigError: a value is wrong. The message names its key.
    """
    from cluster.config.environment import process_environment
    from cluster.config.loading import load_config

    return load_config(profile, file, process_environment())
