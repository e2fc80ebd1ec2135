"""vLLM on AWS Inferentia. Its authors had no such machine and never ran it there.

The parts that can be checked without one are pure (`neuron_arguments`) and tested; the shell around them can be
rehearsed with the CPU build (`device: cpu`).

Neuron compiles for fixed shapes: lengths, batch and buckets are part of the artefact. An artefact is compiled by a
job and stored; a replica that finds none refuses to start rather than compile for many minutes in front of callers.
Inf2 needs the older `vllm-neuron` plugin (vLLM 0.11 to 0.13, in the Neuron image), which is in maintenance since SDK
2.30.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.engines.neuron import NeuronSettings
from deployments.engines.neuron.artifacts import ArtifactKey, fetch_artifacts, open_store
from deployments.engines.vllm import VllmSettings
from deployments.engines.vllm.engine import AsyncDeltaSource, DeltaSource, VllmLanguageModel, open_source
from pipelines.errors import ConfigError

_BLOCK_TOKENS = 32
# Other degrees of parallelism have failed on inf2.24xlarge and inf2.48xlarge (aws-neuron-sdk#1214, vllm-neuron#7).
_SAFE_TENSOR_PARALLEL = (2, 8)


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """A compiled engine: its folders and its shapes.

    Attributes:
        model_dir: the model's files, in Hugging Face layout.
        artifacts_dir: what the compile job produced for exactly these shapes.
        tensor_parallel_size: number of NeuronCores, 2 or 8.
        buckets: compiled prompt lengths, rising. The last is at least `max_model_len`.
    """

    model_dir: Path
    artifacts_dir: Path
    max_model_len: int
    max_num_seqs: int
    tensor_parallel_size: int
    buckets: tuple[int, ...]


def neuron_arguments(compiled: CompiledModel) -> dict[str, Any]:
    """Return the keyword arguments of vLLM's `AsyncEngineArgs` for the Neuron plugin.

    Raises:
        ConfigError: the plugin cannot compile these shapes, or they are known to fail.
    """
    if compiled.tensor_parallel_size not in _SAFE_TENSOR_PARALLEL:
        raise ConfigError(f"tensor_parallel_size {compiled.tensor_parallel_size} fails on Inferentia; use 2 or 8")
    if list(compiled.buckets) != sorted(set(compiled.buckets)) or compiled.buckets[-1:] < (compiled.max_model_len,):
        raise ConfigError("buckets must rise, and the last must be at least max_model_len")
    blocks = math.ceil(compiled.max_model_len / _BLOCK_TOKENS) * compiled.max_num_seqs
    return {
        "model": str(compiled.model_dir),
        "max_model_len": compiled.max_model_len,
        "max_num_seqs": compiled.max_num_seqs,
        "tensor_parallel_size": compiled.tensor_parallel_size,
        "block_size": _BLOCK_TOKENS,
        "num_gpu_blocks_override": blocks,
        "distributed_executor_backend": "uni",
        "enable_chunked_prefill": False,
        # Prefix caching at batch 1 was seen to give wrong answers.
        "enable_prefix_caching": compiled.max_num_seqs > 1,
        "disable_log_stats": True,
        "additional_config": {
            "override_neuron_config": {
                "enable_bucketing": True,
                "context_encoding_buckets": list(compiled.buckets),
                "token_generation_buckets": list(compiled.buckets),
            }
        },
    }


def neuron_environment(compiled: CompiledModel) -> dict[str, str]:
    """Return the environment variables that the process needs. Ray sets NEURON_RT_VISIBLE_CORES."""
    return {"NEURON_COMPILED_ARTIFACTS": str(compiled.artifacts_dir), "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


class NeuronLanguageModel(VllmLanguageModel):
    """Implements `pipelines.ports.LanguageModel` on NeuronCores.

    Args:
        compiled: the compiled engine.
        open_source: creates the engine; None uses vLLM with the Neuron plugin. A rehearsal passes the CPU build.

    Raises:
        ConfigError: the shapes are wrong, or there is no compiled artefact.
    """

    def __init__(self, compiled: CompiledModel, open_source: Callable[[], DeltaSource] | None = None) -> None:
        arguments = neuron_arguments(compiled)
        if not compiled.artifacts_dir.is_dir() or not any(compiled.artifacts_dir.iterdir()):
            raise ConfigError(f"no compiled model in {compiled.artifacts_dir}; run the compile job for these shapes")
        for name, value in neuron_environment(compiled).items():
            os.environ.setdefault(name, value)
        source = open_source() if open_source else AsyncDeltaSource(arguments)
        self._open(source, compiled.model_dir, compiled.max_model_len)


def artifact_key(model_dir: Path, settings: NeuronSettings, cores: int) -> ArtifactKey:
    """Return the key of the compiled engine that a configuration needs.

    Args:
        model_dir: the model's files as laid out by the catalog (`NAME/REVISION/files`).
        settings: model and shapes.
        cores: number of NeuronCores of one replica.
    """
    return ArtifactKey(
        model=settings.model,
        revision=model_dir.parent.name,
        sdk=settings.sdk,
        max_model_len=settings.max_model_len,
        max_num_seqs=settings.max_num_seqs,
        tensor_parallel_size=cores,
        buckets=settings.buckets,
        block_tokens=_BLOCK_TOKENS,
    )


def compiled_model(model_dir: Path, artifacts_dir: Path, key: ArtifactKey) -> CompiledModel:
    """Return the engine in `artifacts_dir`, which was compiled for `key`."""
    return CompiledModel(
        model_dir, artifacts_dir, key.max_model_len, key.max_num_seqs, key.tensor_parallel_size, key.buckets
    )


def open_neuron_engine(model_dir: Path, settings: NeuronSettings, cores: int, url: str) -> NeuronLanguageModel:
    """Fetch the compiled engine of a configuration and open it. Blocks for a download and the loading.

    Args:
        model_dir: the model's files.
        settings: model, shapes, and the device.
        cores: number of NeuronCores of this replica.
        url: URL of the store of compiled engines.

    Raises:
        ConfigError: the shapes are wrong, or nothing was compiled for them. The message says what to compile.
        EngineError: the store cannot be reached (retryable).
    """
    key = artifact_key(model_dir, settings, cores)
    neuron_arguments(compiled_model(model_dir, model_dir, key))  # report wrong shapes before a long download
    artifacts_dir = fetch_artifacts(open_store(url), key, model_dir.parent / "compiled")
    compiled = compiled_model(model_dir, artifacts_dir, key)
    if settings.device == "neuron":
        return NeuronLanguageModel(compiled)
    stand_in = VllmSettings(
        model=settings.model,
        threads=settings.threads,
        max_model_len=key.max_model_len,
        max_num_seqs=key.max_num_seqs,
        lookahead_tokens=0,
    )
    return NeuronLanguageModel(compiled, lambda: open_source(stand_in, model_dir, num_gpus=0))
