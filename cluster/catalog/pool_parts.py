"""Prepares a pool on this machine without a cluster: fetches its weights and returns what its replicas would read."""

from __future__ import annotations

from cluster.catalog.catalog import ModelCatalog
from cluster.catalog.progress import Progress
from cluster.config.environment import process_environment
from cluster.config.parts import Addresses, PoolPart
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import model_uses
from pipelines.errors import Component


def fetched_part(config: VoxrayConfig, component: Component, progress: Progress | None = None) -> PoolPart:
    """Fetch the weights of the first pool in a stage's route, and return what its replicas read.

    Args:
        config: the tree.
        component: the stage.
        progress: informed about the download of missing weights.

    Raises:
        CatalogError: the weights cannot be fetched.
    """
    name = config.routes.of(component)[0]
    catalog = ModelCatalog.load(config, process_environment())
    path = ("pools", component.value, name)
    wanted = [model.name for place, model in model_uses(config) if place[:3] == path]
    models = {model: str(catalog.fetch(model, progress)) for model in wanted}
    return PoolPart.of(config, component, name, Addresses(), models)
