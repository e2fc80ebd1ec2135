"""Servers for the module, an alias and a folder for each test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.ingest.workshop import Workshop
from tests.contract.milvus_server import milvus_server
from tests.contract.redis_server import redis_server


@pytest.fixture(scope="package")
def milvus_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with milvus_server(tmp_path_factory.mktemp("milvus")) as uri:
        yield uri


@pytest.fixture(scope="package")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def workshop(request: pytest.FixtureRequest, tmp_path: Path, milvus_uri: str, redis_url: str) -> Workshop:
    alias = "t_" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:10]
    return Workshop(tmp_path, milvus_uri, alias, redis_url)
