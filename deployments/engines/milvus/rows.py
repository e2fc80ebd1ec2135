"""Reads and writes the rows of versions in Milvus for jobs, always one tenant's rows, by an expression or by keys."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymilvus import MilvusClient

from deployments.engines.milvus.errors import milvus_errors
from deployments.engines.milvus.expressions import (
    EVERY_ROW,
    Expression,
    of_documents,
    of_other_tenants,
    of_tenant,
    with_keys,
)
from deployments.engines.milvus.index_plan import METRIC
from deployments.engines.milvus.schema import DENSE, LEDGER_DEFAULTS, ROW_DEFAULTS, SPARSE

_LOOKUP_KEYS = 256
_SCAN_ROWS = 2000
# Searches wait while the embedded server takes in a batch of rows, so batches are kept small.
_WRITE_ROWS = 64
# Larger batches are fine when copying, because nobody searches the new version yet.
_COPY_ROWS = 500
# Callers' searches wait behind a job's. Eight vectors in one request delay them less than three separate requests.
_SEARCH_VECTORS = 8


class StoredRows:
    """Reads and writes the rows of collections. It blocks, and is meant for jobs.

    Args:
        client: connection of the `VersionStore` whose collections these are.
    """

    def __init__(self, client: MilvusClient) -> None:
        self._client = client
        self._columns: dict[str, list[str]] = {}
        # The client would otherwise warn at each scan of milvus-lite that it uses its own clock.
        logging.getLogger("pymilvus.client.iterator").setLevel(logging.ERROR)

    def columns(self, collection: str) -> list[str]:
        """Return the writable columns of a collection."""
        if collection not in self._columns:
            with milvus_errors():
                described = self._client.describe_collection(collection)["fields"]
            self._columns[collection] = [column["name"] for column in described if column["name"] != SPARSE]
        return self._columns[collection]

    def has_ledger(self, collection: str) -> bool:
        """Return whether the collection's rows name their documents; those of earlier releases do not."""
        return set(LEDGER_DEFAULTS) <= set(self.columns(collection))

    def tenants(self, collection: str) -> set[str]:
        """Return the tenants that have rows in a collection."""
        return {str(row["tenant"]) for row in self._scan(collection, EVERY_ROW, ["tenant"])}

    def total(self, collection: str) -> int:
        """Return how many rows a loaded collection has over all tenants."""
        return self._count(collection, EVERY_ROW)

    def count(self, collection: str, tenant: str, *only: Expression) -> int:
        """Return how many rows of a loaded collection a tenant has, or how many of them meet the conditions."""
        return self._count(collection, of_tenant(tenant, *only))

    def scan(self, collection: str, tenant: str, columns: Sequence[str], *only: Expression) -> Iterator[dict[str, Any]]:
        """Yield a tenant's rows, or those that meet the conditions, holding one batch in memory at a time."""
        yield from self._scan(collection, of_tenant(tenant, *only), columns)

    def of_documents(
        self, collection: str, tenant: str, docs: Sequence[str], columns: Sequence[str] = (), *only: Expression
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of documents, given the hashes of their ids. Without named columns the rows are whole."""
        for batch in _batches(docs):
            yield from self.scan(collection, tenant, columns or self.columns(collection), of_documents(batch), *only)

    def hashes(self, collection: str, tenant: str, keys: Sequence[str]) -> dict[str, str]:
        """Return the hash of the embedded text for each of the rows that exists."""
        found: dict[str, str] = {}
        for batch in _batches(keys):
            only = of_tenant(tenant, with_keys(batch))
            with milvus_errors():
                rows = self._client.query(collection, filter=only, output_fields=["pk", "chunk_hash"])
            found |= {row["pk"]: row["chunk_hash"] for row in rows}
        return found

    def nearest(
        self, collection: str, tenant: str, vectors: Sequence[Sequence[float]], limit: int
    ) -> list[list[dict[str, Any]]]:
        """Return, for each vector, `doc`, `doc_hash` and `source` of the tenant's nearest passages, best first."""
        found: list[list[dict[str, Any]]] = []
        for start in range(0, len(vectors), _SEARCH_VECTORS):
            with milvus_errors():
                answers = self._client.search(
                    collection,
                    [list(vector) for vector in vectors[start : start + _SEARCH_VECTORS]],
                    anns_field=DENSE,
                    limit=limit,
                    filter=of_tenant(tenant),
                    search_params={"metric_type": METRIC},
                    output_fields=["doc", "doc_hash", "source"],
                )
            found += [[dict(hit["entity"]) for hit in hits] for hits in answers]
        return found

    def write(self, collection: str, rows: Sequence[Mapping[str, Any]], batch_rows: int = _WRITE_ROWS) -> None:
        """Write rows in batches, between which searches can proceed.

        Writing the same keys again changes nothing, so a batch can safely be retried. Columns that a collection of an
        earlier release lacks are left out.

        Args:
            collection: the collection to write to.
            rows: rows made by `schema.row_of`, or rows as they were read.
            batch_rows: number of rows per request.
        """
        known = set(self.columns(collection))
        for start in range(0, len(rows), batch_rows):
            complete = ({**ROW_DEFAULTS, **row} for row in rows[start : start + batch_rows])
            with milvus_errors():
                self._client.upsert(collection, [{k: v for k, v in row.items() if k in known} for row in complete])

    def delete(self, collection: str, tenant: str, *only: Expression) -> int:
        """Delete the tenant's rows that meet the conditions; return how many there were."""
        keys = [row["pk"] for row in self.scan(collection, tenant, ["pk"], *only)]
        self.delete_keys(collection, tenant, keys)
        return len(keys)

    def delete_keys(self, collection: str, tenant: str, keys: Sequence[str]) -> None:
        """Delete rows of a tenant by key."""
        for batch in _batches(keys):
            only = of_tenant(tenant, with_keys(batch))
            with milvus_errors():
                self._client.delete(collection, filter=only)

    def copy(self, source: str, target: str, tenant: str) -> None:
        """Copy a tenant's rows with their vectors."""
        self._copy(source, target, of_tenant(tenant))

    def copy_others(self, source: str, target: str, tenant: str) -> None:
        """Copy the rows and vectors of all tenants but one, since only a tenant's own jobs may change its rows."""
        self._copy(source, target, of_other_tenants(tenant))

    def compact(self, collection: str) -> None:
        """Ask the server to rewrite its files without the deleted rows, which it does in the background."""
        with milvus_errors():
            self._client.flush(collection)
            self._client.compact(collection)

    def _copy(self, source: str, target: str, which: Expression) -> None:
        batch: list[dict[str, Any]] = []
        for row in self._scan(source, which, self.columns(source)):
            batch.append(row)
            if len(batch) == _COPY_ROWS:
                self.write(target, batch, _COPY_ROWS)
                batch = []
        self.write(target, batch, _COPY_ROWS)

    def _count(self, collection: str, which: Expression) -> int:
        with milvus_errors():
            return int(self._client.query(collection, filter=which, output_fields=["count(*)"])[0]["count(*)"])

    def _scan(self, collection: str, which: Expression, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        with milvus_errors():
            rows = self._client.query_iterator(
                collection, batch_size=_SCAN_ROWS, filter=which, output_fields=list(columns)
            )
            try:
                while batch := rows.next():
                    yield from (dict(row) for row in batch)
            finally:
                rows.close()


def _batches(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), _LOOKUP_KEYS):
        yield items[start : start + _LOOKUP_KEYS]
