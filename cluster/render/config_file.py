"""The tree as a settings file that nodes carry: for `voxray models fetch` before Ray starts there, and for jobs."""

from __future__ import annotations

from pathlib import Path

from cluster.config.schema import VoxrayConfig
from cluster.render.yaml_text import yaml_text


def config_file(config: VoxrayConfig, catalog: Path | None = None) -> str:
    """Return what a node must be told, as YAML; class defaults are left out, and so is what no node reads.

    Args:
        config: the tree.
        catalog: where the own model entries lie on a node, if they do.
    """
    tree = config.model_dump(mode="json", exclude_defaults=True, exclude={"topology": True})
    if catalog is not None:
        tree["paths"] |= {"catalog": str(catalog)}
    return yaml_text({"profile": config.profile, **tree})
