"""The one map from the failures of pymilvus and gRPC to the product's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from pymilvus import MilvusException

from pipelines.errors import Component, EngineError

ENGINE = Component.VECTOR_STORE
# The codes of pymilvus for a lost connection, a server that is not ready, and unknown failures.
_RETRYABLE_CODES = {1, 2, 65535}


@contextmanager
def milvus_errors() -> Iterator[None]:
    """Map failures of pymilvus and gRPC to `EngineError`. A lost connection is retryable; a rejected request is not."""
    try:
        yield
    except MilvusException as error:
        raise EngineError(ENGINE, f"Milvus: {error.message}", retryable=error.code in _RETRYABLE_CODES) from error
    except grpc.RpcError as error:
        raise EngineError(ENGINE, "Milvus cannot be reached", retryable=True) from error
