"""Rows in and out of collections: always one tenant's, in batches, and with failures in the product's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import grpc
import pytest
from pymilvus import MilvusClient, MilvusException

from deployments.engines.milvus.errors import milvus_errors
from deployments.engines.milvus.rows import StoredRows
from deployments.engines.milvus.schema import LEDGER_DEFAULTS, ROW_DEFAULTS, SPARSE
from pipelines.errors import Component, EngineError

pytestmark = pytest.mark.unit
KEYS = [f"{number:04x}" for number in range(600)]


class Batches:
    def __init__(self, rows: Sequence[dict[str, Any]], size: int) -> None:
        self.left, self.size, self.closed = list(rows), size, False

    def next(self) -> list[dict[str, Any]]:
        batch, self.left = self.left[: self.size], self.left[self.size :]
        return batch

    def close(self) -> None:
        self.closed = True


class Client:
    """Stands in the place of pymilvus' client; keeps what it is asked."""

    def __init__(self, columns: Sequence[str] = (), rows: Sequence[dict[str, Any]] = ()) -> None:
        self.columns, self.rows = columns, rows
        self.described, self.filters, self.deleted = 0, [], []  # type: ignore[var-annotated]
        self.written: list[list[dict[str, Any]]] = []
        self.searched: list[int] = []
        self.iterator = Batches(rows, 2)

    def describe_collection(self, _collection: str) -> dict[str, Any]:
        self.described += 1
        return {"fields": [{"name": name} for name in self.columns]}

    def query_iterator(self, _collection: str, **asked: Any) -> Batches:
        self.filters.append(asked["filter"])
        return self.iterator

    def query(self, _collection: str, **asked: Any) -> list[dict[str, Any]]:
        self.filters.append(asked["filter"])
        if asked["output_fields"] == ["count(*)"]:
            return [{"count(*)": 7}]
        return [{"pk": key, "chunk_hash": f"h{key}"} for key in KEYS if f'"{key}"' in asked["filter"]]

    def search(self, _collection: str, vectors: Sequence[Any], **asked: Any) -> list[list[dict[str, Any]]]:
        self.searched.append(len(vectors))
        self.filters.append(asked["filter"])
        return [[{"entity": {"doc": str(vector[0])}}] for vector in vectors]

    def upsert(self, _collection: str, rows: list[dict[str, Any]]) -> None:
        self.written.append(rows)

    def delete(self, _collection: str, **asked: Any) -> None:
        self.deleted.append(asked["filter"])


def rows_of(client: Client) -> StoredRows:
    return StoredRows(cast("MilvusClient", client))


@pytest.mark.parametrize(("code", "retryable"), [(1, True), (2, True), (65535, True), (1100, False)])
def test_lost_connection_is_worth_another_try_and_a_refusal_is_not(code: int, retryable: bool) -> None:
    with pytest.raises(EngineError, match="Milvus: said no") as caught, milvus_errors():
        raise MilvusException(code=code, message="said no")
    assert (caught.value.engine, caught.value.retryable) == (Component.VECTOR_STORE, retryable)


def test_failure_of_grpc_is_worth_another_try_and_others_pass() -> None:
    with pytest.raises(EngineError, match="cannot be reached") as caught, milvus_errors():
        raise grpc.RpcError
    assert caught.value.retryable
    with pytest.raises(KeyError), milvus_errors():
        raise KeyError("ours")


def test_columns_are_asked_for_once_and_hold_nothing_that_the_server_makes() -> None:
    client = Client(["pk", SPARSE, "text"])
    rows = rows_of(client)
    assert [rows.columns("v1"), rows.columns("v1")] == [["pk", "text"]] * 2
    assert client.described == 1
    assert not rows.has_ledger("v1")
    assert rows_of(Client(["pk", *LEDGER_DEFAULTS])).has_ledger("v1")


def test_scan_reads_one_tenant_batch_by_batch_and_closes_the_cursor() -> None:
    client = Client(rows=[{"pk": "1"}, {"pk": "2"}, {"pk": "3"}])
    assert [row["pk"] for row in rows_of(client).scan("v1", "acme", ["pk"])] == ["1", "2", "3"]
    assert client.filters == ['tenant == "acme"']
    assert client.iterator.closed


def test_tenant_that_could_break_out_of_an_expression_is_refused_before_it_is_sent() -> None:
    client = Client()
    with pytest.raises(EngineError, match="tenant name"):
        rows_of(client).count("v1", 'a" or pk != "')
    assert client.filters == []
    assert rows_of(client).count("v1", "acme") == 7


def test_hashes_of_many_keys_are_asked_for_in_batches_of_one_tenant() -> None:
    client = Client()
    found = rows_of(client).hashes("v1", "acme", KEYS)
    assert found == {key: f"h{key}" for key in KEYS}
    assert len(client.filters) == 3
    assert all(asked.startswith('tenant == "acme" and ') for asked in client.filters)


def test_nearest_keeps_the_order_of_the_vectors_over_batches() -> None:
    client = Client()
    found = rows_of(client).nearest("v1", "acme", [[float(number)] for number in range(10)], limit=1)
    assert [hits[0]["doc"] for hits in found] == [str(float(number)) for number in range(10)]
    assert client.searched == [8, 2]


def test_rows_are_written_in_batches_with_defaults_and_without_unknown_columns() -> None:
    client = Client(["pk", "doc", "expires_at"])
    rows_of(client).write("v1", [{"pk": "1", "doc": "d"}, {"pk": "2", "of_a_later_release": 1}], batch_rows=1)
    assert client.written == [
        [{"pk": "1", "doc": "d", "expires_at": 0}],
        [{"pk": "2", "doc": ROW_DEFAULTS["doc"], "expires_at": 0}],
    ]


def test_delete_removes_what_was_found_by_key_and_counts_it() -> None:
    client = Client(rows=[{"pk": "aa"}, {"pk": "bb"}])
    assert rows_of(client).delete("v1", "acme") == 2
    (asked,) = client.deleted
    assert asked.startswith('tenant == "acme" and pk in ')
    assert rows_of(Client()).delete("v1", "acme") == 0


def test_copy_takes_one_tenants_rows_or_everybody_elses() -> None:
    rows = [{"pk": "aa"}, {"pk": "bb"}, {"pk": "cc"}]
    client = Client(["pk"], rows)
    rows_of(client).copy("v1", "v2", "acme")
    others = Client(["pk"], rows)
    rows_of(others).copy_others("v1", "v2", "acme")
    assert client.written == others.written == [rows]
    assert client.filters == ['tenant == "acme"']
    assert others.filters == ['not (tenant == "acme")']
