"""Resolves the folders of state and weights on this machine, without creating them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from cluster.config.schema import VoxrayConfig

STATE_FOLDER = ".voxray"
AGENTS_FOLDER = "agents"
SAMPLE_AGENTS = Path(__file__).resolve().parents[2] / "ingest_jobs" / "sample_data" / "agents"


@dataclass(frozen=True, slots=True)
class VoxrayPaths:
    """Absolute folders.

    Attributes:
        state: data of the services, logs, records of runs.
        models: weights, shared by all projects.
        agents: the agents' files.
    """

    state: Path
    models: Path
    agents: Path


def resolve_paths(config: VoxrayConfig, *, start: Path | None = None) -> VoxrayPaths:
    """Return the folders of this installation.

    Args:
        config: the configuration, whose `paths` take precedence where set.
        start: folder from which to look for the project; None uses the working directory.
    """
    state = config.paths.state or project_folder(start or Path.cwd()) / STATE_FOLDER
    models = config.paths.models or platformdirs.user_cache_path("voxray") / "models"
    return VoxrayPaths(state.absolute(), models.absolute(), (config.paths.agents or _own_agents()).absolute())


def _own_agents() -> Path:
    """Return `agents` in the working directory, or the folder of the sample company's agent if it does not exist."""
    own = Path.cwd() / AGENTS_FOLDER
    return own if own.is_dir() else SAMPLE_AGENTS


def project_folder(start: Path) -> Path:
    """Return the nearest folder from `start` upwards that holds the pyproject.toml of voxray, else `start`."""
    for folder in (start, *start.parents):
        try:
            project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            continue
        if project.get("name") == "voxray":
            return folder
    return start
