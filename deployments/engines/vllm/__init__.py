"""A chat model on vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from cluster.config.engines import EngineSite, EngineSpec, FittedSettings, ModelUse
from cluster.config.section import Fraction
from cluster.processor import Processor
from deployments.engines.files import model_folder
from pipelines.errors import Component

if TYPE_CHECKING:
    from deployments.engines.vllm.engine import VllmLanguageModel


# A step reads all weights whether it computes one token or six. Six cost much more only where arithmetic is slow, as
# measured in docs/adr/0029-any-processor.md.
_LOOKAHEAD, _LOOKAHEAD_WHERE_SLOW = 5, 2


class VllmSettings(FittedSettings):
    """A chat model on vLLM, on CPU or on NVIDIA GPUs."""

    engine: Literal["vllm"] = "vllm"
    model: str = Field(default="smollm2-135m-instruct", description="Catalog name of the model.")
    # Where stages share cores, speech that is playing must not wait for words that nobody hears yet.
    niceness: int = Field(
        default=5, ge=0, le=19, description="How readily the replica yields the CPU to other processes (`nice`)."
    )
    max_model_len: int = Field(default=2048, ge=256, description="Most tokens of a prompt and its answer together.")
    max_num_seqs: int = Field(default=8, ge=1, description="Most requests that are computed in one batch.")
    kv_cache_bytes: int = Field(
        default=256 * 1024 * 1024, ge=16 * 1024 * 1024, description="Size of the key-value cache on a CPU."
    )
    lookahead_tokens: Literal["auto"] | Annotated[int, Field(ge=0, le=16)] = Field(
        default="auto",
        description="On a CPU: tokens guessed by prompt lookup and checked in one step, since answers quote the passage"
        " in the prompt; 0: none; auto: fewer where a step of several tokens is slow.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Data type of the computation. auto uses the faster one on a CPU, and the model's own on a GPU.",
    )
    gpu_memory_utilization: Fraction = Field(
        default=0.85, description="Share of the whole GPU for weights and key-value cache."
    )


@dataclass(frozen=True, slots=True)
class CpuPlan:
    """How a model is run on a CPU."""

    dtype: str
    threads: int
    lookahead_tokens: int

    @classmethod
    def of(cls, settings: VllmSettings, processor: Processor) -> CpuPlan:
        """Return the plan from the settings, and what suits the processor where they leave it open."""
        dtype = processor.dtype if settings.dtype == "auto" else settings.dtype
        is_slow = dtype == "bfloat16" and not processor.computes_bfloat16
        suited = _LOOKAHEAD_WHERE_SLOW if is_slow else _LOOKAHEAD
        guessed = suited if settings.lookahead_tokens == "auto" else settings.lookahead_tokens
        return cls(dtype, settings.threads_on(processor), guessed)

    def as_text(self) -> dict[str, str]:
        """Return the plan as text, by the keys of the settings."""
        return {"dtype": self.dtype, "threads": str(self.threads), "lookahead_tokens": str(self.lookahead_tokens)}


def _open(settings: VllmSettings, site: EngineSite) -> VllmLanguageModel:
    from deployments.engines.vllm.engine import VllmLanguageModel

    return VllmLanguageModel(settings, model_folder(site, settings.model), num_gpus=site.num_gpus)


def _problems(pool: Any, profile: str) -> Iterator[tuple[str, str]]:
    if profile == "inferentia":
        yield "engine", "does not run on Inferentia; use neuron or scripted there"
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
    fit=lambda settings, processor: CpuPlan.of(settings, processor).as_text(),
)
