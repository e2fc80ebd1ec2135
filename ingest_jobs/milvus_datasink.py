"""Writes a Ray dataset of embedded chunks to one Milvus collection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ray.data import Datasink
from ray.data.block import BlockAccessor

from deployments.engines.milvus_store import KnowledgeStore
from ingest_jobs.rows import passage_of_row


class MilvusDatasink(Datasink[int]):
    """Each write task opens its own connection and upserts; keys are deterministic, so a retried task is harmless.

    Args:
        uri: address of the Milvus server.
        alias: the alias that the collection will get; names the versions.
        collection: where to write; exists already.
        token: credential, "" for none.
    """

    def __init__(self, uri: str, alias: str, collection: str, *, token: str = "") -> None:
        self._uri = uri
        self._alias = alias
        self._collection = collection
        self._token = token

    def write(self, blocks: Iterable[Any], ctx: Any) -> int:  # noqa: ARG002 - Ray's signature
        """Upsert all rows of `blocks`; return how many."""
        store = KnowledgeStore(self._uri, self._alias, token=self._token)
        written = 0
        try:
            for block in blocks:
                passages = [passage_of_row(row) for row in BlockAccessor.for_block(block).iter_rows(True)]
                store.upsert(self._collection, passages)
                written += len(passages)
        finally:
            store.close()
        return written
