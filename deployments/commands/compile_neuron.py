"""Compiles the configured language model for Inferentia and publishes it (`python -m` with this module's name).

It runs inside the Neuron image, on a machine with as many NeuronCores as a replica will have, and takes many minutes.
Its authors had no such machine and never ran it. With `--key` it only prints what would be compiled, on any machine.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cluster.catalog.catalog import ModelCatalog
from cluster.config.environment import process_environment
from cluster.config.loading import load_config
from cluster.config.pools import engine_settings_of, spec_of_pool
from cluster.config.schema import VoxrayConfig
from deployments.engines.neuron import NeuronSettings
from deployments.engines.neuron.artifacts import ArtifactKey, open_store, publish_artifacts
from deployments.engines.neuron.engine import artifact_key, compiled_model, neuron_arguments, neuron_environment
from pipelines.errors import Component, ConfigError


def compile_neuron(
    profile: Annotated[str | None, typer.Option(help="Profile of the cluster.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Settings file of the cluster.")] = None,
    only_key: Annotated[
        bool, typer.Option("--key", help="Print the key and its parts without compiling anything.")
    ] = False,
) -> None:
    """Compile the language model for the shapes of a configuration, and publish the result under its key."""
    config = load_config(profile, file, process_environment())
    catalog = ModelCatalog.load(config, process_environment())
    settings, cores = _pool(config)
    key = artifact_key(catalog.place(settings.model), settings, cores)
    url = settings.artifacts_from(config.services.objects.url)
    if only_key:
        typer.echo(json.dumps({"url": f"{url}/{key.path}", "compiled_for": key.parts}, indent=1))
        return
    model_dir = catalog.path(settings.model)
    console = Console()
    with tempfile.TemporaryDirectory() as made:
        with console.status(f"compiling {key.path}: many minutes"):
            _compile(model_dir, Path(made), key)
        with console.status(f"publishing to {url}/{key.path}"):
            publish_artifacts(open_store(url), key, Path(made))
    console.print(f"published {url}/{key.path}", soft_wrap=True)


def _pool(config: VoxrayConfig) -> tuple[NeuronSettings, int]:
    """Return the settings and the cores per replica of the language model's pool that runs on NeuronCores."""
    for pool in config.pools.of(Component.LANGUAGE_MODEL).values():
        if pool.engine == "neuron":
            settings = engine_settings_of(pool, spec_of_pool(Component.LANGUAGE_MODEL, pool))
            assert isinstance(settings, NeuronSettings)
            return settings, pool.replicas.neuron_cores
    raise ConfigError("no pool in pools.language_model uses the engine neuron, so there is nothing to compile")


def _compile(model_dir: Path, target: Path, key: ArtifactKey) -> None:
    """Let vLLM's Neuron plugin compile into `target`.

    It does so when NEURON_COMPILED_ARTIFACTS names an empty folder.
    """
    from deployments.engines.vllm.engine import AsyncDeltaSource

    compiled = compiled_model(model_dir, target, key)
    os.environ.update(neuron_environment(compiled))
    AsyncDeltaSource(neuron_arguments(compiled)).close()


if __name__ == "__main__":
    typer.run(compile_neuron)
