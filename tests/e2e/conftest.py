"""One embedded cluster for all end-to-end tests: real engines, real services, its own state folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from cluster.caller.sample_data import index_sample_data
from cluster.config.environment import process_environment
from cluster.config.loading import load_config
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle import ClusterState, down, up

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True, slots=True)
class Embedded:
    config: VoxrayConfig
    state: ClusterState


def modules_beyond_the_lock() -> set[str]:
    """Return the top-level modules that are installed here, but not where only `make call` was run."""
    lock = (ROOT / "requirements" / "embedded.txt").read_text("utf-8")
    listed = {line.partition("==")[0] for line in lock.splitlines()} | {"voxray"}
    owners = metadata.packages_distributions()
    return {module for module, names in owners.items() if not listed & {canonicalize_name(name) for name in names}}


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The embedded profile with the sample data indexed, by processes that see only what `make call` installs."""
    folder: Path = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIDDEN_MODULES", " ".join(sorted(modules_beyond_the_lock())))
        patch.setenv("PYTHONPATH", str(HERE / "left_out"), prepend=os.pathsep)
        yield from _running(folder)


def _running(folder: Path) -> Iterator[Embedded]:
    models = {name: value for name, value in process_environment().items() if name == "VOXRAY_MODELS"}
    config = load_config("embedded", None, {**models, "VOXRAY_STATE": str(folder)})
    try:
        state = up(config)
        index_sample_data(config, state, lambda _line: None)
        yield Embedded(config, state)
    finally:
        survivors = down(config)
    assert not survivors
