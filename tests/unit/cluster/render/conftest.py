"""The production configurations that the tests render."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.config.loading import load_config
from cluster.config.schema import VoxrayConfig

OPERATOR = Path(__file__).parent / "operator.yaml"
# NVIDIA and Inferentia machines behind one language model.
TWO_KINDS = {
    "VOXRAY__POOLS__LANGUAGE_MODEL__NEURON__ENGINE": "neuron",
    "VOXRAY__POOLS__LANGUAGE_MODEL__NEURON__REPLICAS__NUM_CPUS": "4",
    "VOXRAY__POOLS__LANGUAGE_MODEL__NEURON__REPLICAS__NEURON_CORES": "2",
    "VOXRAY__POOLS__LANGUAGE_MODEL__NEURON__REPLICAS__MAX_ONGOING_REQUESTS": "8",
    "VOXRAY__ROUTES__LANGUAGE_MODEL": "[neuron, default]",
    "VOXRAY__TOPOLOGY__NEURON__MIN_NODES": "1",
    "VOXRAY__TOPOLOGY__NEURON__MAX_NODES": "4",
}


def production(profile: str = "nvidia", **changes: str) -> VoxrayConfig:
    """Return a production configuration; `changes` are keys with two underscores between sections, as in variables."""
    variables = {f"VOXRAY__{key.upper()}": value for key, value in changes.items()}
    if profile == "two_kinds":
        return load_config("nvidia", OPERATOR, TWO_KINDS | variables)
    return load_config(profile, OPERATOR, variables)


@pytest.fixture(params=["nvidia", "inferentia", "two_kinds"])
def config(request: pytest.FixtureRequest) -> VoxrayConfig:
    """Each production configuration in turn."""
    return production(request.param)
