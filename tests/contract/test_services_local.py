"""Real Redis and Milvus servers under the supervisor: start, crash, restart, and what must survive each."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from pymilvus import AnnSearchRequest, DataType, Function, FunctionType, MilvusClient, RRFRanker

from cluster.config.loading import load_config
from cluster.config.schema import MilvusConfig, PathsConfig, RedisConfig, ServicesConfig, VoxrayConfig
from cluster.lifecycle import ClusterState, down, services_only
from cluster.lifecycle.layout import folder_of
from cluster.render.serve_config import configured_addresses, render_serve_config
from cluster.services.errors import ServiceError
from cluster.services.external import probe_milvus, probe_redis, probe_sql
from cluster.services.processes import find_marked
from cluster.services.supervisor import Supervisor

pytestmark = [pytest.mark.contract, pytest.mark.timeout(120)]
ROWS = [
    (0, "Returns are free within thirty days", [1.0, 0.0, 0.0, 0.0]),
    (1, "Shipping takes two working days", [0.0, 1.0, 0.0, 0.0]),
    (2, "Gift cards never expire", [0.0, 0.0, 1.0, 0.0]),
]


@pytest.fixture
def config(tmp_path: Path) -> Iterator[VoxrayConfig]:
    """A configuration whose state folder has a long path with spaces; whatever it starts is ended."""
    made = VoxrayConfig(paths=PathsConfig(state=tmp_path / "a folder" / ("long " * 20).strip() / "state"))
    yield made
    assert down(made) == []


def _pid(config: VoxrayConfig, name: str) -> int:
    return Supervisor(folder_of(config), is_observer=True).state.processes[name].pid


def _redis(state: ClusterState) -> redis.Redis:
    return redis.Redis.from_url(state.redis_url, decode_responses=True)


def _kill(pid: int) -> None:
    process = psutil.Process(pid)
    process.kill()
    psutil.wait_procs([process], timeout=10)


def test_services_stay_when_asked_for_again(config: VoxrayConfig) -> None:
    first = services_only(config)
    pids = (_pid(config, "redis"), _pid(config, "milvus"))
    assert services_only(config) == first
    assert (_pid(config, "redis"), _pid(config, "milvus")) == pids


def test_redis_keeps_its_data_after_kill_nine(config: VoxrayConfig) -> None:
    state = services_only(config)
    with _redis(state) as client:
        client.set("session", "alive")
    old = _pid(config, "redis")
    _kill(old)
    again = services_only(config)
    assert again.redis_url == state.redis_url
    assert _pid(config, "redis") != old
    with _redis(again) as client:
        assert client.get("session") == "alive"


def test_redis_refuses_to_lose_keys_silently(config: VoxrayConfig) -> None:
    with _redis(services_only(config)) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        client.config_set("maxmemory", "1mb")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("big", "x" * 2_000_000)


def test_milvus_searches_by_alias_after_each_kind_of_restart(config: VoxrayConfig) -> None:
    state = services_only(config)
    _make_collection(state.milvus_uri)
    assert _best(state.milvus_uri, "shipping days") == ROWS[1][1]
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = psutil.Process(_pid(config, "milvus"))
        os.kill(process.pid, number)
        psutil.wait_procs([process], timeout=15)
        assert _best(services_only(config).milvus_uri, "shipping days") == ROWS[1][1]


def test_corrupted_state_is_survived_and_leaves_no_orphan(config: VoxrayConfig) -> None:
    services_only(config)
    old = {process.pid for process in find_marked(folder_of(config).run_id)}
    folder_of(config).state_file.write_text('{"version": 1, "ports": {"redis"')
    services_only(config)
    new = {process.pid for process in find_marked(folder_of(config).run_id)}
    assert len(new) == len(old) == 2
    assert not old & new


def test_pid_given_to_another_process_is_not_taken_for_ours(config: VoxrayConfig) -> None:
    services_only(config)
    _kill(_pid(config, "redis"))
    path = folder_of(config).state_file
    path.write_text(path.read_text().replace(f'"pid": {_pid(config, "redis")}', f'"pid": {os.getpid()}'))
    services_only(config)
    assert _pid(config, "redis") != os.getpid()
    assert psutil.pid_exists(os.getpid())


def test_port_taken_in_between_moves_the_service(config: VoxrayConfig) -> None:
    state = services_only(config)
    assert down(config) == []
    port = int(state.redis_url.rpartition(":")[2].partition("/")[0])
    with socket.create_server(("127.0.0.1", port)):
        moved = services_only(config)
        assert moved.redis_url != state.redis_url
        with _redis(moved) as client:
            assert client.ping()
        assert moved.milvus_uri == state.milvus_uri


def test_service_that_cannot_start_says_why(config: VoxrayConfig) -> None:
    folder = folder_of(config)
    (folder.redis / "appendonly.aof").mkdir()
    with pytest.raises(
        ServiceError, match=r"redis: did not start: ended with code 1(.|\n)*append-only file: Is a directory"
    ):
        services_only(config)
    (folder.redis / "appendonly.aof").rmdir()
    services_only(config)


def test_down_without_up_does_nothing(config: VoxrayConfig) -> None:
    assert down(config) == []
    assert down(config) == []


def test_down_ends_every_process_and_nothing_else_listens(config: VoxrayConfig) -> None:
    services_only(config)
    marked = find_marked(folder_of(config).run_id)
    listening = [c for process in marked for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 2
    assert all(connection.laddr.ip in ("127.0.0.1", "::ffff:127.0.0.1") for connection in listening)
    assert down(config) == []
    assert find_marked(folder_of(config).run_id) == []


def test_configured_services_are_asked_and_not_started(config: VoxrayConfig, tmp_path: Path) -> None:
    state = services_only(config)
    services = ServicesConfig(redis=RedisConfig(url=state.redis_url), milvus=MilvusConfig(uri=state.milvus_uri))
    guest = VoxrayConfig(paths=PathsConfig(state=tmp_path / "guest"), services=services)
    assert services_only(guest).redis_url == state.redis_url
    assert find_marked(folder_of(guest).run_id) == []


def test_configured_service_that_is_away_is_named() -> None:
    with pytest.raises(ServiceError, match=r"services\.redis\.url"):
        probe_redis(RedisConfig(url="redis://127.0.0.1:1/0"), {})
    with pytest.raises(ServiceError, match=r"services\.milvus\.uri"):
        probe_milvus(MilvusConfig(uri="http://127.0.0.1:1"), {})
    with pytest.raises(ServiceError, match=r"services\.sql\.url"):
        probe_sql("sqlite:////nowhere/at/all.sqlite")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("profile", ["embedded", "scripted"])
def test_rendered_configuration_is_accepted_by_ray_serve(profile: str) -> None:
    from ray.serve.schema import ServeDeploySchema

    config = load_config(profile, None, {})
    schema = ServeDeploySchema.model_validate(render_serve_config(config, configured_addresses(config)))
    deployments = {each.name: [deployment.name for deployment in each.deployments] for each in schema.applications}
    assert deployments == {
        "voxray": ["Gateway"],
        "transcriber-default": ["Transcriber"],
        "retriever-default": ["Retriever"],
        "language-model-default": ["LanguageModel"],
        "synthesizer-default": ["Synthesizer"],
    }


def _make_collection(uri: str) -> None:
    client = MilvusClient(uri)
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=200, enable_analyzer=True)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["text"], ["sparse"]))
    index = client.prepare_index_params()
    index.add_index("dense", index_type="FLAT", metric_type="COSINE")
    index.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.create_collection("docs_1", schema=schema, index_params=index)
    client.create_alias("docs_1", "knowledge")
    client.insert("docs_1", [{"id": row, "text": text, "dense": dense} for row, text, dense in ROWS])
    client.close()


def _best(uri: str, question: str) -> str:
    client = MilvusClient(uri)
    try:
        requests = [
            AnnSearchRequest([ROWS[1][2]], "dense", {}, 3),
            AnnSearchRequest([question], "sparse", {}, 3),
        ]
        found = client.hybrid_search("knowledge", requests, RRFRanker(), limit=1, output_fields=["text"])
        return str(found[0][0]["entity"]["text"])
    finally:
        client.close()
