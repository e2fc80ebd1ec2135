"""A chat model on vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from cluster.config.engines import EngineSettings, EngineSite, EngineSpec, ModelUse
from cluster.config.section import Fraction
from deployments.engines.files import model_folder
from pipelines.errors import Component

if TYPE_CHECKING:
    from deployments.engines.vllm.engine import VllmLanguageModel


class VllmSettings(EngineSettings):
    """A chat model on vLLM, on CPU or on NVIDIA GPUs."""

    engine: Literal["vllm"] = "vllm"
    model: str = Field(default="smollm2-135m-instruct", description="Catalog name of the model.")
    # Where stages share cores, speech that has begun must not wait for words that nobody hears yet.
    niceness: int = Field(
        default=5, ge=0, le=19, description="How readily the replica gives up the CPU to other processes (`nice`)."
    )
    max_model_len: int = Field(default=2048, ge=256, description="Most tokens of a prompt and its answer together.")
    max_num_seqs: int = Field(default=8, ge=1, description="Requests that are computed in one batch.")
    kv_cache_bytes: int = Field(
        default=256 * 1024 * 1024, ge=16 * 1024 * 1024, description="Size of the key-value cache on a CPU."
    )
    lookahead_tokens: int = Field(
        default=5,
        ge=0,
        le=16,
        description="On a CPU: tokens guessed by prompt lookup and checked in one step, since answers quote the passage"
        " in the prompt; 0: none.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Data type that it computes in; auto: on a CPU the faster one there, on a GPU that of the model.",
    )
    gpu_memory_utilization: Fraction = Field(
        default=0.85, description="Share of the whole GPU for weights and key-value cache."
    )


def _open(settings: VllmSettings, site: EngineSite) -> VllmLanguageModel:
    from deployments.engines.vllm.engine import VllmLanguageModel

    return VllmLanguageModel(settings, model_folder(site, settings.model), num_gpus=site.num_gpus)


def _problems(pool: Any, profile: str) -> Iterator[tuple[str, str]]:
    if profile == "inferentia":
        yield "engine", "does not run on Inferentia; allowed there: neuron, scripted"
    if 0 < pool.replicas.num_gpus < 1 and pool.gpu_memory_utilization > pool.replicas.num_gpus:
        message = (
            f"is a share of the whole GPU, of which a replica has {pool.replicas.num_gpus:g} (replicas.num_gpus); Ray "
            "does not isolate memory, so it must not be more"
        )
        yield "gpu_memory_utilization", message


SPEC = EngineSpec(
    component=Component.LANGUAGE_MODEL,
    name="vllm",
    settings=VllmSettings,
    open=_open,
    models=lambda settings: (ModelUse("model", settings.model, "language-model"),),
    extra="embedded",
    runs_on_gpu=True,
    memory_control="vllm",
    # NeMo registers a vLLM plugin that breaks vLLM's start.
    variables={"VLLM_PLUGINS": ""},
    problems=_problems,
)
