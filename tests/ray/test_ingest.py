"""The reindex job as a data team runs it: its own process, Ray Data, a real Milvus."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pymilvus import MilvusClient

from cluster.catalog.catalog import ModelCatalog
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from deployments.engines.embedder import SentenceEncoder
from ingest_jobs.reindex import ReindexRequest, reindex_in_process
from tests.contract.milvus_server import milvus_server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "ingest_jobs" / "sample_data"
FIELDS = ["pk", "tenant", "title", "text", "source", "terms", "sentence_vectors"]


@pytest.fixture(scope="module")
def model_dir() -> Path:
    config = VoxrayConfig()
    return ModelCatalog.load(config, process_environment()).fetch(config.retriever.embedding_model)


def run_job(uri: str, model_dir: Path, *more: str, source: Path = SAMPLE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ingest_jobs.reindex", "--source", str(source), "--milvus", uri]
    command += ["--alias", "knowledge", "--model-dir", str(model_dir), *more]
    environment = {**process_environment(), "RAY_ADDRESS": "local"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def rows_of(uri: str, collection: str) -> list[dict[str, object]]:
    client = MilvusClient(uri)
    try:
        rows = client.query(collection, filter="pk != ''", output_fields=FIELDS, limit=1000)
    finally:
        client.close()
    return sorted(({name: row[name] for name in FIELDS} for row in rows), key=lambda row: str(row["pk"]))


def test_ray_job_makes_the_same_collection_as_the_in_process_run_and_skips_unchanged_data(
    model_dir: Path, tmp_path: Path
) -> None:
    with milvus_server(tmp_path) as uri:
        expected = reindex_in_process(ReindexRequest(SAMPLE, uri, "other", model_dir), SentenceEncoder(model_dir, 1))
        job = run_job(uri, model_dir)
        assert job.returncode == 0, job.stderr
        made, wanted = rows_of(uri, "knowledge"), rows_of(uri, expected.collection)
        assert len(made) == expected.passages
        without_vectors = [{k: v for k, v in row.items() if k != "sentence_vectors"} for row in made]
        assert without_vectors == [{k: v for k, v in row.items() if k != "sentence_vectors"} for row in wanted]
        assert [len(str(r["sentence_vectors"])) for r in made] == [len(str(r["sentence_vectors"])) for r in wanted]
        again = run_job(uri, model_dir)
        assert again.returncode == 0, again.stderr
        assert "nothing to do" in again.stdout


def test_failed_job_says_what_is_wrong_and_leaves_no_collection(model_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "orders.jsonl").write_text('{"a": 1}\n{broken\n')
    with milvus_server(tmp_path / "milvus") as uri:
        job = run_job(uri, model_dir, source=source)
        client = MilvusClient(uri)
        assert job.returncode == 2
        assert "orders.jsonl, line 2" in job.stderr
        assert client.list_collections() == []
        client.close()
