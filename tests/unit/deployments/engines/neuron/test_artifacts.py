"""Compiled engines by key: found when they fit, refused with what to compile when they do not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from deployments.engines.neuron import NeuronSettings
from deployments.engines.neuron.artifacts import (
    MANIFEST,
    ArtifactKey,
    FolderStore,
    S3Store,
    fetch_artifacts,
    open_store,
    publish_artifacts,
)
from deployments.engines.neuron.engine import NeuronLanguageModel, artifact_key, compiled_model, open_neuron_engine
from pipelines.errors import ConfigError, EngineError

pytestmark = pytest.mark.unit
KEY = ArtifactKey("llama-3-8b-instruct", "6448c83fcd95", "2.30", 4096, 16, 2, (512, 4096))


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(str(tmp_path / "store"))


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    folder = tmp_path / "compiled"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "graph.neff").write_bytes(b"a compiled graph")
    (folder / "neuron_config.json").write_text("{}")
    return folder


def test_published_engine_is_fetched_whole(store: FolderStore, compiled: Path, tmp_path: Path) -> None:
    publish_artifacts(store, KEY, compiled)
    home = fetch_artifacts(store, KEY, tmp_path / "cache")
    assert (home / "model" / "graph.neff").read_bytes() == b"a compiled graph"
    assert json.loads((home / MANIFEST).read_text())["compiled_for"] == KEY.parts


def test_engine_that_is_here_is_not_fetched_again(store: FolderStore, compiled: Path, tmp_path: Path) -> None:
    publish_artifacts(store, KEY, compiled)
    home = fetch_artifacts(store, KEY, tmp_path / "cache")
    gone = FolderStore(str(tmp_path / "gone"))
    assert fetch_artifacts(gone, KEY, tmp_path / "cache") == home


def test_miss_is_refused_with_what_to_compile(store: FolderStore, compiled: Path, tmp_path: Path) -> None:
    publish_artifacts(store, replace(KEY, max_num_seqs=4), compiled)
    with pytest.raises(ConfigError) as refusal:
        fetch_artifacts(store, KEY, tmp_path / "cache")
    message = str(refusal.value)
    assert KEY.path in message
    assert "python -m deployments.commands.compile_neuron" in message
    assert "max_num_seqs=16" in message
    assert not (tmp_path / "cache" / KEY.path).exists()


@pytest.mark.parametrize(
    "change",
    [
        {"model": "x"},
        {"revision": "x"},
        {"sdk": "2.31"},
        {"max_model_len": 8192},
        {"max_num_seqs": 8},
        {"tensor_parallel_size": 8},
        {"buckets": (4096,)},
        {"block_tokens": 16},
        {"dtype": "float16"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_compiled_program_changes_the_key(change: dict[str, Any]) -> None:
    assert replace(KEY, **change).digest != KEY.digest


def test_key_is_what_it_was() -> None:
    # It names files in people's stores: if this fails, all of them must be compiled again.
    assert KEY.path == "llama-3-8b-instruct/ada85a972ae64782"


def test_damaged_file_is_refused(store: FolderStore, compiled: Path, tmp_path: Path) -> None:
    publish_artifacts(store, KEY, compiled)
    (Path(store.url) / KEY.path / "model" / "graph.neff").write_bytes(b"something else")
    with pytest.raises(ConfigError, match=r"graph\.neff differs from what was published"):
        fetch_artifacts(store, KEY, tmp_path / "cache")


def test_lost_file_is_refused(store: FolderStore, compiled: Path, tmp_path: Path) -> None:
    publish_artifacts(store, KEY, compiled)
    (Path(store.url) / KEY.path / "neuron_config.json").unlink()
    with pytest.raises(ConfigError, match=r"neuron_config\.json is gone"):
        fetch_artifacts(store, KEY, tmp_path / "cache")


def test_manifest_that_points_outside_is_refused(store: FolderStore, compiled: Path, tmp_path: Path) -> None:
    publish_artifacts(store, KEY, compiled)
    manifest = Path(store.url) / KEY.path / MANIFEST
    manifest.write_text(manifest.read_text().replace("neuron_config.json", "../../../evil"))
    with pytest.raises(ConfigError, match="outside its folder"):
        fetch_artifacts(store, KEY, tmp_path / "cache")


def test_nothing_compiled_is_not_published(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing was compiled"):
        publish_artifacts(store, KEY, tmp_path)


def test_s3_miss_is_a_missing_file_and_a_fault_may_be_tried_again(tmp_path: Path) -> None:
    client: Any = boto3.client("s3", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    store = S3Store("s3://bucket/production/neuron", client)
    key = f"production/neuron/{KEY.path}/{MANIFEST}"
    with Stubber(client) as stub:
        expected = {"Bucket": "bucket", "Key": key}
        stub.add_client_error("head_object", "404", http_status_code=404, expected_params=expected)
        with pytest.raises(FileNotFoundError):
            store.get(f"{KEY.path}/{MANIFEST}", tmp_path / "file")
        stub.add_client_error("head_object", "SlowDown", http_status_code=503, expected_params=expected)
        with pytest.raises(EngineError) as fault:
            store.get(f"{KEY.path}/{MANIFEST}", tmp_path / "file")
    assert fault.value.retryable


def test_store_is_chosen_by_the_url() -> None:
    assert open_store("file:///srv/neuron").url == "/srv/neuron"
    assert open_store("/srv/neuron").url == "/srv/neuron"


def test_key_of_a_configuration_names_its_model_revision_and_shapes(tmp_path: Path) -> None:
    config = NeuronSettings(model="llama-3-8b-instruct", max_model_len=4096, max_num_seqs=16, buckets=(512, 4096))
    assert artifact_key(tmp_path / "llama-3-8b-instruct" / "6448c83fcd95" / "files", config, 2) == KEY


def test_engine_without_a_compiled_model_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    config = NeuronSettings(max_model_len=2048, buckets=(512, 2048))
    model_dir = tmp_path / "model" / "rev" / "files"
    with pytest.raises(ConfigError, match="no compiled engine"):
        open_neuron_engine(model_dir, config, 2, str(tmp_path / "store"))
    with pytest.raises(ConfigError, match="use 2 or 8"):
        open_neuron_engine(model_dir, config, 4, str(tmp_path / "store"))
    with pytest.raises(ConfigError, match="no compiled model in"):
        NeuronLanguageModel(compiled_model(model_dir, tmp_path / "empty", KEY))
