"""The files on nodes: the agents, and the tree for jobs and for `voxray models fetch` before Ray starts."""

from __future__ import annotations

from cluster.config.agents import agent_files, agents_folder, read_agents
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import engine_uses
from cluster.render.yaml_text import yaml_text

CONFIG_FILE = "voxray.yaml"
CATALOG_FILE = "catalog.yaml"


def agent_texts(config: VoxrayConfig) -> dict[str, str]:
    """Return the unchanged agents' files by name.

    Raises:
        ConfigError: one of them is invalid.
    """
    folder = agents_folder(config)
    read_agents(folder)
    return {file.name: file.read_text(encoding="utf-8") for file in agent_files(folder)}


def config_files(config: VoxrayConfig, folder: str) -> dict[str, str]:
    """Return the files from which a node reads its configuration, by name: the tree, and own model entries if any.

    Args:
        config: the tree.
        folder: folder of the files on a node.
    """
    own_entries = config.paths.catalog
    if own_entries is None:
        return {CONFIG_FILE: _tree_text(config, None)}
    tree = _tree_text(config, f"{folder}/{CATALOG_FILE}")
    return {CONFIG_FILE: tree, CATALOG_FILE: own_entries.read_text(encoding="utf-8")}


def _tree_text(config: VoxrayConfig, catalog: str | None) -> str:
    """Return the tree as YAML, without class defaults and without what no node reads."""
    tree = config.model_dump(mode="json", exclude_defaults=True, exclude={"topology": True})
    # An engine's name decides which other keys are valid, so it is written even where it is the default.
    for use in engine_uses(config):
        section = tree
        for key in use.path:
            section = section.setdefault(key, {})
        section["engine"] = use.spec.name
    if catalog is not None:
        tree["paths"]["catalog"] = catalog
    return yaml_text({"profile": config.profile, **tree})
