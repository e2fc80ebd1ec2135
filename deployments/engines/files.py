"""Locates the files of an engine's models."""

from __future__ import annotations

from pathlib import Path

from cluster.config.engines import EngineSite
from pipelines.errors import ConfigError


def model_folder(site: EngineSite, model: str) -> Path:
    """Return the directory of a model.

    Raises:
        ConfigError: this process knows no path for the model.
    """
    try:
        return Path(site.models[model])
    except KeyError:
        raise ConfigError(f"no path is known for model '{model}'; fetch it with 'voxray models fetch'") from None


def model_file(site: EngineSite, model: str, pattern: str) -> Path:
    """Return the one file of a model that matches `pattern`.

    Raises:
        ConfigError: the path is unknown, no file matches, or several do.
    """
    folder = model_folder(site, model)
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        raise ConfigError(f"model '{model}' should hold one {pattern} file in {folder}, it holds {len(found)}")
    return found[0]
