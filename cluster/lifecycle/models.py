"""Fetches the weights that a configuration names before anything that needs them is deployed."""

from __future__ import annotations

from cluster.catalog.catalog import ModelCatalog, names_used_by
from cluster.catalog.progress import Progress
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig


def fetch_models(config: VoxrayConfig, progress: Progress | None) -> dict[str, str]:
    """Return the path of each model that the configured engines need, downloading missing ones.

    Raises:
        VoxrayError: a model is unknown, or cannot be fetched or verified.
    """
    catalog = ModelCatalog.load(config, process_environment())
    return {name: str(catalog.fetch(name, progress)) for name in names_used_by(config)}
