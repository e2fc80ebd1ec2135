"""Business data in Milvus: collections, their versions, and the searches in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cluster.config.engines import EngineSettings, EngineSite, EngineSpec, ModelUse
from deployments.engines.files import model_folder
from pipelines.errors import Component

if TYPE_CHECKING:
    from deployments.engines.milvus.retriever import MilvusRetriever, Reranker


class MilvusSettings(EngineSettings):
    """Hybrid search in Milvus, with an encoder for the questions and an optional cross-encoder."""

    engine: Literal["milvus"] = "milvus"
    embedding_model: str = Field(
        default="all-minilm-l6-v2", description="Catalog name of the sentence encoder, which the jobs use too."
    )
    candidates: int = Field(
        default=12, ge=1, le=200, description="Number of rows each of the two searches passes on to fusion."
    )
    rerank_model: str = Field(
        default="", description="Catalog name of a cross-encoder. If empty, the fused order is kept."
    )
    rerank_candidates: int = Field(
        default=8, ge=2, le=50, description="Number of passages that the cross-encoder reads."
    )
    cached_vectors: int = Field(
        default=2048, ge=0, description="Number of questions, over all tenants, whose vectors are cached."
    )


def _models(settings: MilvusSettings) -> tuple[ModelUse, ...]:
    encoder = ModelUse("embedding_model", settings.embedding_model, "embedding")
    if not settings.rerank_model:
        return (encoder,)
    return (encoder, ModelUse("rerank_model", settings.rerank_model, "reranker"))


def _open(settings: MilvusSettings, site: EngineSite) -> MilvusRetriever:
    from deployments.engines.embedding.embedder import SentenceEncoder
    from deployments.engines.milvus.retriever import MilvusRetriever

    encoder = SentenceEncoder(model_folder(site, settings.embedding_model), threads=settings.threads)
    return MilvusRetriever(
        site.milvus_uri,
        site.milvus_alias,
        encoder,
        token=site.milvus_token,
        settings=settings,
        reranker=_reranker(settings, site),
        on_timing=site.on_timing,
    )


def _reranker(settings: MilvusSettings, site: EngineSite) -> Reranker | None:
    if not settings.rerank_model:
        return None
    from deployments.engines.embedding.cross_encoder import CrossEncoder

    return CrossEncoder(model_folder(site, settings.rerank_model), threads=settings.threads)


SPEC = EngineSpec(
    component=Component.RETRIEVER,
    name="milvus",
    settings=MilvusSettings,
    open=_open,
    models=_models,
    extra="embedded",
    memory_control="torch",
)
