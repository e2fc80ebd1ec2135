"""vLLM on AWS Inferentia, and its compiled engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from cluster.config.engines import EngineSettings, EngineSite, EngineSpec, ModelUse
from deployments.engines.files import model_folder
from pipelines.errors import Component

if TYPE_CHECKING:
    from deployments.engines.neuron.engine import NeuronLanguageModel


class NeuronSettings(EngineSettings):
    """A chat model on NeuronCores. Lengths, batch and buckets are fixed when the model is compiled."""

    engine: Literal["neuron"] = "neuron"
    model: str = Field(default="llama-3-8b-instruct", description="Catalog name of the model.")
    max_model_len: int = Field(default=4096, ge=256, description="Most tokens of a prompt and its answer together.")
    max_num_seqs: int = Field(default=4, ge=1, description="Batch size that is compiled.")
    buckets: tuple[int, ...] = Field(
        default=(512, 1024, 2048, 4096),
        description="Compiled prompt lengths, rising. The last is at least max_model_len.",
    )
    artifacts_url: str = Field(
        default="",
        description="URL (s3://...) or folder of compiled engines. Empty means neuron/ below services.objects.url.",
    )
    sdk: str = Field(default="2.30", description="Neuron SDK of the image, which is part of a compiled engine's key.")
    device: Literal["neuron", "cpu"] = Field(
        default="neuron", description="Device that runs the model. cpu rehearses with the CPU build of vLLM."
    )

    def artifacts_from(self, objects_url: str) -> str:
        """Return where compiled engines are stored, given the object store."""
        return self.artifacts_url or f"{objects_url.rstrip('/')}/neuron"


def _open(settings: NeuronSettings, site: EngineSite) -> NeuronLanguageModel:
    from deployments.engines.neuron.engine import open_neuron_engine

    folder = model_folder(site, settings.model)
    return open_neuron_engine(folder, settings, site.neuron_cores, settings.artifacts_from(site.objects_url))


def _problems(pool: Any, profile: str) -> Iterator[tuple[str, str]]:
    if pool.replicas.num_gpus or not pool.replicas.neuron_cores:
        yield "replicas.neuron_cores", "the engine neuron needs whole NeuronCores and no GPU (num_gpus must be 0)"
    if profile not in ("inferentia", "nvidia") and pool.device == "neuron":
        yield "engine", f"runs on Inferentia only, but the profile is {profile} (set device: cpu to rehearse it)"


SPEC = EngineSpec(
    component=Component.LANGUAGE_MODEL,
    name="neuron",
    settings=NeuronSettings,
    open=_open,
    models=lambda settings: (ModelUse("model", settings.model, "language-model"),),
    extra="inferentia",
    needs_neuron=True,
    memory_control="vllm",
    problems=_problems,
)
