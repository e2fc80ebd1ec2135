"""One embedded cluster for all end-to-end tests: real engines, real services, its own state folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.caller.sample_data import index_sample_data
from cluster.config.environment import process_environment
from cluster.config.loading import load_config
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle import ClusterState, down, up


@dataclass(frozen=True, slots=True)
class Embedded:
    config: VoxrayConfig
    state: ClusterState


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The embedded profile with the sample data indexed."""
    folder: Path = tmp_path_factory.mktemp("state")
    models = {name: value for name, value in process_environment().items() if name == "VOXRAY_MODELS"}
    config = load_config("embedded", None, {**models, "VOXRAY_STATE": str(folder)})
    try:
        state = up(config)
        index_sample_data(config, state, lambda _line: None)
        yield Embedded(config, state)
    finally:
        survivors = down(config)
    assert not survivors
