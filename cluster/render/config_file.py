"""Files that nodes carry: the tree, for `voxray models fetch` before Ray starts there and for jobs, and the agents."""

from __future__ import annotations

from pathlib import Path

from cluster.config.agents import agent_files, agents_folder, read_agents
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import engine_uses
from cluster.render.yaml_text import yaml_text


def agent_texts(config: VoxrayConfig) -> dict[str, str]:
    """Return the agents' files by name, as they are.

    Raises:
        ConfigError: one of them is wrong.
    """
    folder = agents_folder(config)
    read_agents(folder)
    return {file.name: file.read_text(encoding="utf-8") for file in agent_files(folder)}


def config_file(config: VoxrayConfig, catalog: Path | None = None) -> str:
    """Return what a node must be told, as YAML; class defaults are left out, and so is what no node reads.

    Args:
        config: the tree.
        catalog: where the own model entries lie on a node, if they do.
    """
    tree = config.model_dump(mode="json", exclude_defaults=True, exclude={"topology": True})
    # The name of an engine decides which other keys there may be, so it stands there even where it is the default.
    for use in engine_uses(config):
        section = tree
        for key in use.path:
            section = section.setdefault(key, {})
        section["engine"] = use.spec.name
    if catalog is not None:
        tree["paths"] |= {"catalog": str(catalog)}
    return yaml_text({"profile": config.profile, **tree})
