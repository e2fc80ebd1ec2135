"""Determines which image a pool's containers run and which models they hold."""

from __future__ import annotations

from cluster.config.environment import KeyPath
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import engine_uses, jobs_encoder
from cluster.render.placement import deployments_of


def image_of(config: VoxrayConfig, pool: str) -> str:
    """Return the image reference of a pool. The head uses that of the pool gateway."""
    topology = config.topology
    named: str = getattr(topology, pool).image
    kind = "cpu" if pool in ("gateway", "ingest") else pool
    return named or f"{topology.image_repository}/{kind}:{topology.image_tag}"


def models_of(config: VoxrayConfig, pool: str) -> tuple[str, ...]:
    """Return the models that nodes of a pool must hold before Ray starts there, sorted."""
    placed = {each.path: each.machine for each in deployments_of(config)}
    named = {model.name for use in engine_uses(config) if placed[_owner(use.path)] == pool for model in use.models}
    if pool == "ingest":
        named.add(jobs_encoder(config))
    return tuple(sorted(named))


def _owner(path: KeyPath) -> KeyPath:
    """Return the path of the deployment in whose processes an engine runs."""
    return path if path[0] == "pools" else path[:1]
