"""Live updates on a running cluster: a document put over REST, and changes set aside that are tried again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from cluster.config.agents import agent_of
from cluster.config.environment import process_environment
from cluster.config.loading import load_config
from cluster.config.schema import PathsConfig, VoxrayConfig
from cluster.lifecycle import ClusterState, down, up
from deployments.engines.milvus.versions import VersionStore
from deployments.stores.change_log import ChangeLog, DocumentChange
from ingest_jobs.knowledge.run.job import open_redis

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

DATASET = "name: shop\nembedding: {engine: scripted}\nquality: {min_row_share: 0}\n"
WAIT_S = 120


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VoxrayConfig]:
    paths = PathsConfig(state=tmp_path_factory.mktemp("state"))
    made = load_config("scripted", None, {}).model_copy(update={"paths": paths})
    yield made
    assert down(made) == []


@pytest.fixture(scope="module")
def state(config: VoxrayConfig, tmp_path_factory: pytest.TempPathFactory) -> ClusterState:
    """A cluster with the product's own application, one document in its index, and a follower."""
    running = up(config)
    folder = tmp_path_factory.mktemp("data")
    (folder / "dataset.yaml").write_text(DATASET)
    (folder / "a.md").write_text("# Hours\nWe open at eight.\n")
    voxray(config, "ingest", "submit", str(folder))
    voxray(config, "ingest", "follow", "--detach")
    return running


def voxray(config: VoxrayConfig, *words: str) -> str:
    settings = {"VOXRAY_PROFILE": "scripted", "VOXRAY_STATE": str(config.paths.state)}
    command = [sys.executable, "-m", "cluster.cli", *words]
    ended = subprocess.run(command, env={**process_environment(), **settings}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def texts(config: VoxrayConfig, state: ClusterState) -> set[str]:
    store = VersionStore(state.milvus_uri, config.services.milvus.alias)
    try:
        return {
            row["text"] for row in store.rows.scan(store.live_collection() or "", agent_of(config).tenant, ["text"])
        }
    finally:
        store.close()


def became(state: ClusterState, change: str) -> str:
    said = httpx.get(f"{state.http_url}/v1/knowledge/changes/{change}", trust_env=False).json()
    return str(said["state"])


def test_document_put_over_rest_is_live_and_deleted_again(state: ClusterState, config: VoxrayConfig) -> None:
    url = f"{state.http_url}/v1/knowledge/documents/news/1"
    answer = httpx.put(url, json={"title": "News", "text": "We open at nine."}, trust_env=False)
    assert answer.status_code == 202
    put = answer.json()["change"]
    wait_until(lambda: became(state, put) != "queued")
    assert became(state, put) == "applied"
    assert texts(config, state) == {"We open at eight.", "We open at nine."}
    deleted = httpx.delete(url, trust_env=False).json()["change"]
    wait_until(lambda: became(state, deleted) == "applied")
    assert texts(config, state) == {"We open at eight."}


def test_change_that_was_set_aside_is_applied_when_tried_again(state: ClusterState, config: VoxrayConfig) -> None:
    client = open_redis(state.redis_url, config.services.redis.password_env)
    assert client is not None
    change = DocumentChange(agent_of(config).tenant, "news/2", "put", title="News", text="We close at six.")
    # As the follower leaves it when the store refuses it: what was wrong with the store is over now.
    ChangeLog(client, config.services.milvus.alias).set_aside("1-1", change, "Milvus: no room")
    client.close()
    shown = json.loads(voxray(config, "ingest", "changes", "--json"))
    assert [(each["document"], each["reason"]) for each in shown["changes"]] == [("news/2", "Milvus: no room")]
    assert voxray(config, "ingest", "changes", "--retry") == "1 changes wait to be applied again\n"
    wait_until(lambda: "We close at six." in texts(config, state))
    assert json.loads(voxray(config, "ingest", "changes", "--json"))["changes"] == []
