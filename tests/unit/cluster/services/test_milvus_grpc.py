"""The connections to Milvus: their settings reach gRPC, and no client of the product goes without them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import grpc
import pytest
from pymilvus.client.async_grpc_handler import AsyncGrpcHandler
from pymilvus.client.grpc_handler import GrpcHandler

from cluster.services.milvus_grpc import GRPC_OPTIONS

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[4]
PRODUCT = ("autoscaling", "cluster", "deployments", "ingest_jobs", "pipelines")
# What a server of gRPC (milvus-lite's is one) takes for abuse where it does not say otherwise:
# "grpc.http2.min_recv_ping_interval_without_data_ms".
SHORTEST_ALLOWED_MS = 300_000


class Opened(Exception):
    """Ends the making of a client once its channel is asked for."""


@pytest.mark.parametrize("handler", [GrpcHandler, AsyncGrpcHandler])
def test_channel_pings_no_idle_server_and_none_more_often_than_it_allows(
    handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def channel(_target: str, options: list[tuple[str, Any]]) -> Any:
        seen.append(dict(options))
        raise Opened

    monkeypatch.setattr(grpc, "insecure_channel", channel)
    monkeypatch.setattr(grpc.aio, "insecure_channel", channel)
    with pytest.raises(Opened):
        handler(uri="http://127.0.0.1:1", grpc_options=GRPC_OPTIONS)
    (options,) = seen
    assert options["grpc.keepalive_time_ms"] > SHORTEST_ALLOWED_MS
    assert not options["grpc.keepalive_permit_without_calls"]


def test_every_client_of_the_product_has_the_settings() -> None:
    clients: list[tuple[str, list[str]]] = []
    for path in (path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text("utf-8")
        if "MilvusClient(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"MilvusClient", "AsyncMilvusClient"}:
                given = [ast.unparse(each.value) for each in node.keywords if each.arg == "grpc_options"]
                clients.append((str(path.relative_to(ROOT)), given))
    assert len(clients) >= 4
    assert [name for name, given in clients if given != ["GRPC_OPTIONS"]] == []
