"""Compiles the configured language model for Inferentia and publishes it (`python -m` with this module's name).

Runs inside the Neuron image, on a machine with as many NeuronCores as a replica will have; takes many minutes. Never
run by its authors, who had no such machine. `--key` only prints what would be compiled, anywhere.
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
from cluster.config.schema import VoxrayConfig
from deployments.engine_choice import artifacts_url
from deployments.engines.neuron.artifacts import ArtifactKey, open_store, publish_artifacts
from deployments.engines.neuron.engine import artifact_key, neuron_arguments, neuron_environment, neuron_settings


def compile_neuron(
    profile: Annotated[str | None, typer.Option(help="Profile of the cluster.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Settings file of the cluster.")] = None,
    only_key: Annotated[
        bool, typer.Option("--key", help="Print the key and what it is made of; compile nothing.")
    ] = False,
) -> None:
    """Compile the language model for the shapes of a configuration, and publish the result under its key."""
    config = load_config(profile, file, process_environment())
    catalog = ModelCatalog.load(config, process_environment())
    key = _key_of(config, catalog.place(config.language_model.model))
    url = artifacts_url(config, config.services.objects.url)
    if only_key:
        typer.echo(json.dumps({"url": f"{url}/{key.path}", "compiled_for": key.parts}, indent=1))
        return
    model_dir = catalog.path(config.language_model.model)
    console = Console()
    with tempfile.TemporaryDirectory() as made:
        with console.status(f"compiling {key.path}: many minutes"):
            _compile(model_dir, Path(made), key)
        with console.status(f"publishing to {url}/{key.path}"):
            publish_artifacts(open_store(url), key, Path(made))
    console.print(f"published {url}/{key.path}", soft_wrap=True)


def _key_of(config: VoxrayConfig, model_dir: Path) -> ArtifactKey:
    model = config.language_model
    cores = (model.replicas if model.engine == "neuron" else model.neuron.replicas).neuron_cores
    return artifact_key(model_dir, model, cores)


def _compile(model_dir: Path, target: Path, key: ArtifactKey) -> None:
    """Let vLLM's Neuron plugin compile into `target`: it does when NEURON_COMPILED_ARTIFACTS names an empty folder."""
    from deployments.engines.vllm.engine import AsyncDeltaSource

    settings = neuron_settings(model_dir, target, key)
    os.environ.update(neuron_environment(settings))
    AsyncDeltaSource(neuron_arguments(settings)).close()


if __name__ == "__main__":
    typer.run(compile_neuron)
