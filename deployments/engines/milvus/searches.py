"""The reading side of Milvus: finds the live collection and searches it by meaning or by words.

A question is searched for twice concurrently, by meaning and by words. The lists are fused here rather than by Milvus,
so that one late list does not cost the other and both can be shown. The live collection is resolved first and named in
both searches, so that moving the alias between them never mixes two versions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import AsyncMilvusClient

from cluster.services.milvus_grpc import GRPC_OPTIONS
from deployments.engines.milvus.errors import milvus_errors
from deployments.engines.milvus.expressions import RowShape, row_filter
from deployments.engines.milvus.fields import FIELDS_PROPERTY, of_property
from deployments.engines.milvus.index_plan import SEARCH_PARAMS
from deployments.engines.milvus.schema import DENSE, SENTENCES, SPARSE, STORED_FIELDS, unpack_vectors
from pipelines.language.en.terms import coverage
from pipelines.ports import Passage, RetrievalQuery

_MOST_KNOWN = 16


@dataclass(frozen=True, slots=True)
class Hit:
    """One row found by a search. `score` is cosine similarity or BM25; higher is better."""

    key: str
    score: float
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Described:
    """What never changes about a collection: how its dense index is searched, and what its rows can be filtered by."""

    search_params: dict[str, int]
    has_expiry: bool
    properties: dict[str, str]

    def shape(self, tenant: str) -> RowShape:
        return RowShape(self.has_expiry, of_property(self.properties.get(FIELDS_PROPERTY + tenant, "")))


class MilvusSearches:
    """Searches inside one tenant, on the event loop that constructs it.

    Args:
        uri: address of the Milvus server.
        alias: the live collection's alias.
        token: credential, "" for none.
        version: the collection that is searched instead of the live one; "" for the live one.
    """

    def __init__(self, uri: str, alias: str, *, token: str = "", version: str = "") -> None:
        self._client = AsyncMilvusClient(uri, token=token, grpc_options=GRPC_OPTIONS)
        self._alias = alias
        self._version = version
        self._known: dict[str, _Described] = {}

    async def live_collection(self, alias: str = "") -> str:
        """Return the name of the collection that an alias stands for now, or of the chosen version.

        Args:
            alias: "" for the alias of these searches.

        Raises:
            EngineError: the alias has no collection, or Milvus cannot be reached.
        """
        with milvus_errors():
            if self._version:
                # A restarted server has loaded only the collections that are searched.
                await self._client.load_collection(self._version)
                return self._version
            described = await self._client.describe_alias(alias or self._alias)
        return str(described["collection_name"])

    async def by_meaning(
        self, collection: str, query: RetrievalQuery, vector: NDArray[np.float32], n: int
    ) -> list[Hit]:
        """Return the `n` rows whose vectors are nearest to `vector`, best first."""
        return await self._search(collection, query, DENSE, vector.tolist(), n)

    async def by_words(self, collection: str, query: RetrievalQuery, terms: str, n: int) -> list[Hit]:
        """Return the `n` rows with the highest BM25 score for `terms` (of `search_terms`), best first."""
        return await self._search(collection, query, SPARSE, terms, n) if terms else []

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def _search(self, collection: str, query: RetrievalQuery, field: str, data: Any, n: int) -> list[Hit]:
        """Search one field.

        All searches pass through here, and only here are the tenant's filter and the expiry applied. The metric is left
        to the collection's index, because collections built by older versions use a different one.
        """
        with milvus_errors():
            known = await self._described(collection)
            found = await self._client.search(
                collection,
                [data],
                filter=row_filter(query.tenant, query.only, known.shape(query.tenant), time.time()),
                anns_field=field,
                limit=n,
                search_params={"params": known.search_params if field == DENSE else {}},
                output_fields=[*STORED_FIELDS, SENTENCES, DENSE],
            )
        # milvus-lite returns BM25 scores negated; Milvus does not.
        sign = -1.0 if field == SPARSE and any(hit["distance"] < 0 for hit in found[0]) else 1.0
        return [Hit(str(hit["pk"]), sign * float(hit["distance"]), hit["entity"]) for hit in found[0]]

    async def _described(self, collection: str) -> _Described:
        if collection not in self._known:
            index = await self._client.describe_index(collection, DENSE)
            described = await self._client.describe_collection(collection)
            known = _Described(
                SEARCH_PARAMS.get(index["index_type"], {}),
                any(column["name"] == "expires_at" for column in described["fields"]),
                dict(described.get("properties", {})),
            )
            # Only a few collections are live and one may be on its way out; older ones are not used again.
            while len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[collection] = known
        return self._known[collection]


def passage_of(row: dict[str, Any], question: str, vector: NDArray[np.float32]) -> Passage:
    """Return the passage of a stored row, compared with the question. The caller sets `score` and `stages`."""
    return Passage(
        text=row["text"],
        source=row["source"],
        title=row["title"],
        score=0.0,
        similarity=float(np.dot(vector, np.asarray(row[DENSE], dtype=np.float32))),
        matched_terms=coverage(question, f"{row['title']}. {row['text']}"),
        updated_at=row["updated_at"],
        sentence_similarities=tuple((unpack_vectors(row[SENTENCES], vector.size) @ vector).tolist()),
    )
