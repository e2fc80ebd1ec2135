"""Hybrid retrieval from Milvus: dense vectors and BM25 in one request, fused by rank, always inside one tenant."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pymilvus import AnnSearchRequest, AsyncMilvusClient, RRFRanker

from cluster.services.milvus_grpc import GRPC_OPTIONS
from deployments.engines.milvus_store import (
    DENSE,
    ENGINE,
    SENTENCES,
    SPARSE,
    STORED_FIELDS,
    milvus_errors,
    search_terms,
    tenant_filter,
    unpack_vectors,
)
from pipelines.errors import EngineError
from pipelines.ports import Passage, RetrievalQuery
from pipelines.text.terms import coverage

_CANDIDATES = 12
_RRF_K = 60
_CACHED_VECTORS = 2048


class QueryEncoder(Protocol):
    """Turns texts into unit vectors. Blocking; called from one thread at a time."""

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return one L2-normalised vector per text."""


@dataclass(frozen=True, slots=True)
class RetrievalTiming:
    """How one search went. `is_over_budget`: it was given up after `RetrievalQuery.budget_ms`."""

    embed_ms: float
    search_ms: float
    is_over_budget: bool = False


class MilvusRetriever:
    """`pipelines.ports.Retriever` over the collection behind an alias. One instance per event loop.

    Args:
        uri: address of the Milvus server.
        alias: the live collection's alias; a switch takes effect with the next search.
        encoder: embeds questions; runs in a thread of its own, so the event loop never waits for it.
        token: credential, "" for none.
        on_timing: called on the event loop's thread after each search, for metrics.
    """

    def __init__(
        self,
        uri: str,
        alias: str,
        encoder: QueryEncoder,
        *,
        token: str = "",
        on_timing: Callable[[RetrievalTiming], None] | None = None,
    ) -> None:
        self._client = AsyncMilvusClient(uri, token=token, grpc_options=GRPC_OPTIONS)
        self._alias = alias
        self._encoder = encoder
        self._on_timing = on_timing or (lambda _: None)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="query-encoder")
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        """Return the tenant's nearest passages, best first. Cancelling it gives up the request.

        Raises:
            EngineError: Milvus or the encoder failed, or `budget_ms` was over (retryable). An empty list would say that
                nothing is near, and the caller would hear a refusal that is not true.
        """
        started = time.perf_counter()
        embedded = started
        try:
            async with asyncio.timeout(query.budget_ms / 1000):
                vector = await self._vector(query.text)
                embedded = time.perf_counter()
                passages = await self._hybrid(query, vector)
        except TimeoutError as error:
            now = time.perf_counter()
            self._on_timing(RetrievalTiming((embedded - started) * 1e3, (now - embedded) * 1e3, is_over_budget=True))
            raise EngineError(ENGINE, f"no answer within {query.budget_ms} ms", retryable=True) from error
        now = time.perf_counter()
        self._on_timing(RetrievalTiming((embedded - started) * 1e3, (now - embedded) * 1e3))
        return passages

    async def aclose(self) -> None:
        """Close the connection and the encoder's thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        await self._client.close()

    async def _vector(self, text: str) -> NDArray[np.float32]:
        """Return the text's vector; recent ones are kept, since partial and final transcripts often agree."""
        if (known := self._vectors.get(text)) is not None:
            self._vectors.move_to_end(text)
            return known
        loop = asyncio.get_running_loop()
        vector: NDArray[np.float32] = (await loop.run_in_executor(self._thread, self._encoder.encode, [text]))[0]
        self._vectors[text] = vector
        if len(self._vectors) > _CACHED_VECTORS:
            self._vectors.popitem(last=False)
        return vector

    async def _hybrid(self, query: RetrievalQuery, vector: NDArray[np.float32]) -> list[Passage]:
        only_tenant = tenant_filter(query.tenant)
        candidates = max(_CANDIDATES, query.limit)
        requests = [AnnSearchRequest([vector.tolist()], DENSE, {"metric_type": "COSINE"}, candidates, expr=only_tenant)]
        if terms := search_terms(query.text):
            requests.append(AnnSearchRequest([terms], SPARSE, {"metric_type": "BM25"}, candidates, expr=only_tenant))
        with milvus_errors():
            hits = await self._client.hybrid_search(
                self._alias,
                requests,
                RRFRanker(_RRF_K),
                limit=query.limit,
                output_fields=[*STORED_FIELDS, SENTENCES, DENSE],
            )
        return [_passage(hit, query.text, vector) for hit in hits[0]]


def _passage(hit: Any, question: str, vector: NDArray[np.float32]) -> Passage:
    row = hit["entity"]
    return Passage(
        text=row["text"],
        source=row["source"],
        title=row["title"],
        score=float(hit["distance"]),
        similarity=float(np.dot(vector, np.asarray(row[DENSE], dtype=np.float32))),
        matched_terms=coverage(question, f"{row['title']}. {row['text']}"),
        updated_at=row["updated_at"],
        sentence_similarities=tuple((unpack_vectors(row[SENTENCES], vector.size) @ vector).tolist()),
    )
