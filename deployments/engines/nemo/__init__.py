"""NeMo's cache-aware FastConformer as a recogniser that streams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from cluster.config.engines import EngineSettings, EngineSite, EngineSpec, ModelUse
from cluster.config.section import Section
from deployments.engines.files import model_file
from pipelines.errors import Component

if TYPE_CHECKING:
    from deployments.engines.streaming.loop import StreamLoop

# Duration of one output of a cache-aware encoder: eight feature frames of 10 ms.
FRAME_MS = 80


class TenantPhrases(Section):
    """What a tenant's callers are likely to say.

    A `tenant` of "" stands for all tenants without phrases of their own.
    """

    tenant: str = ""
    phrases: tuple[str, ...]


class NemoSettings(EngineSettings):
    """A cache-aware FastConformer of NeMo, which hears many callers in one step (docs/speech-recognition.md)."""

    engine: Literal["nemo"] = "nemo"
    model: str = Field(default="voxray-asr-small-en", description="Catalog name of the model.")
    chunk_ms: int = Field(
        default=160,
        ge=80,
        le=2000,
        description="Length of the audio that is heard at once, of those for which the model was trained: the longer,"
        " the fewer errors and the later the words.",
    )
    decoder: Literal["auto", "ctc", "rnnt"] = Field(
        default="auto", description="Decoder of a hybrid model. auto uses RNN-T if the model has it."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device that runs the model. auto uses a GPU if there is one."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Data type of the model. auto uses bfloat16 on a GPU that supports it."
    )
    max_streams: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="Most utterances at a time; further ones are refused. 0 admits as many as the warm-up measures.",
    )
    end_silence_ms: int = Field(
        default=0,
        ge=0,
        le=5000,
        description="Silence after words that ends an utterance, a vote for the end of the turn. 0: only <EOU> does.",
    )
    phrases: tuple[TenantPhrases, ...] = Field(
        default=(), description="Names and words to expect from callers, by tenant."
    )
    phrase_weight: float = Field(
        default=1.0, ge=0, le=5, description="Bonus for each piece of an expected phrase, in natural log."
    )
    language_model: str = Field(
        default="auto",
        description="For ctc: absolute path of a model of what callers may say (`voxray asr language-model`); auto: the"
        " file of the model's name with .lm, if there is one; none: none.",
    )
    language_weight: float = Field(
        default=1.0, ge=0, le=5, description="Weight of the language model relative to the acoustic scores."
    )

    def language_model_file(self, model: Path) -> Path | None:
        """Return the language model that belongs to a `.nemo` file, or None.

        RNN-T has no search with a language model, so auto selects none there.
        """
        from deployments.engines.nemo.ngrams import language_model_of

        is_unasked = (self.language_model, self.decoder) == ("auto", "rnnt")
        return language_model_of("none" if is_unasked else self.language_model, model)


def _open(settings: NemoSettings, site: EngineSite) -> StreamLoop:
    from deployments.engines.nemo.recognizer import open_nemo_recognizer

    return open_nemo_recognizer(model_file(site, settings.model, "*.nemo"), settings)


def _problems(pool: Any, profile: str) -> Iterator[tuple[str, str]]:
    if profile == "inferentia":
        yield "engine", "is not in the images of Inferentia clusters; use whisper-ct2 or scripted there"
    if pool.chunk_ms % FRAME_MS:
        yield (
            "chunk_ms",
            f"must be a multiple of {FRAME_MS}, the length of the model's frames (80, 160, 560 or 1120)",
        )
    if pool.device == "cuda" and not pool.replicas.num_gpus:
        yield "device", "needs a GPU, or a fraction of one (replicas.num_gpus)"
    if pool.device == "cpu" and pool.replicas.num_gpus:
        yield "device", f"leaves idle the GPU that replicas.num_gpus = {pool.replicas.num_gpus:g} reserves"


SPEC = EngineSpec(
    component=Component.TRANSCRIBER,
    name="nemo",
    settings=NemoSettings,
    open=_open,
    models=lambda settings: (ModelUse("model", settings.model, "recognition"),),
    extra="nemo",
    runs_on_gpu=True,
    is_streaming=True,
    memory_control="torch",
    problems=_problems,
)
