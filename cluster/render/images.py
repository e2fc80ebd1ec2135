"""Which image a pool's containers run, and which models they hold."""

from __future__ import annotations

from cluster.catalog.catalog import names_used_by
from cluster.config.schema import VoxrayConfig
from cluster.render.placement import deployments_of


def image_of(config: VoxrayConfig, pool: str) -> str:
    """Return the image reference of a pool; the head runs the one of the pool gateway."""
    topology = config.topology
    named: str = getattr(topology, pool).image
    kind = "cpu" if pool in ("gateway", "ingest") else pool
    return named or f"{topology.image_repository}/{kind}:{topology.image_tag}"


def models_of(config: VoxrayConfig, pool: str) -> tuple[str, ...]:
    """Return the models that nodes of a pool must hold before Ray starts there, sorted."""
    named: set[str] = set()
    for placed in deployments_of(config):
        if placed.pool == pool:
            section = config.gateway if not placed.section else getattr(config, placed.section)
            named |= {value for key, value in section.model_dump().items() if key == "model" or key.endswith("_model")}
    if pool == "ingest":
        named.add(config.retriever.embedding_model)
    return tuple(sorted(named & set(names_used_by(config))))
