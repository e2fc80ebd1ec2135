"""The copy of the models that machines of a private network fetch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import boto3
import pytest
from botocore.stub import ANY, Stubber

from cluster.catalog.catalog import ModelCatalog
from cluster.catalog.entries import ModelEntry, S3Source
from cluster.catalog.mirror import origin_of, upload
from cluster.catalog.progress import SilentProgress
from cluster.catalog.store import ModelStore
from cluster.config.schema import PathsConfig, VoxrayConfig

pytestmark = pytest.mark.unit
WEIGHTS = b"weights" * 100
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
URL = "s3://models/copy"


def entry(name: str, source: dict[str, str], files: list[dict[str, str]] | None = None) -> ModelEntry:
    return ModelEntry.model_validate(
        {"name": name, "kind": "speech", "licence": {"spdx": "MIT"}, "source": source, "files": files or []}
    )


@pytest.fixture
def catalog(tmp_path: Path) -> ModelCatalog:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "voice.onnx").write_bytes(WEIGHTS)
    voice = entry(
        "voice", {"type": "folder", "folder": str(tmp_path / "own")}, [{"path": "voice.onnx", "sha256": SHA256}]
    )
    made = entry("made", {"type": "derived", "of": "voice", "converter": "a:b"})
    catalog = ModelCatalog({"voice": voice, "made": made}, ModelStore(tmp_path / "models"))
    catalog.fetch("voice")
    return catalog


def test_file_is_sent_with_its_hash(catalog: ModelCatalog) -> None:
    client = boto3.client("s3", region_name="eu-north-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        stub.add_response("list_objects_v2", {}, {"Bucket": "models", "Prefix": "copy/voice/voice.onnx", "MaxKeys": 1})
        put = {"Bucket": "models", "Key": "copy/voice/voice.onnx", "Metadata": {"sha256": SHA256}, "Body": ANY}
        stub.add_response("put_object", {}, put | {"ChecksumAlgorithm": ANY})
        assert upload(catalog, "voice", URL, SilentProgress(), client) == {"voice.onnx": True}
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(("sha256", "is_sent"), [(SHA256, False), ("0" * 64, True)])
def test_file_that_is_there_is_sent_only_when_its_hash_is_another(
    catalog: ModelCatalog, sha256: str, *, is_sent: bool
) -> None:
    client = boto3.client("s3", region_name="eu-north-1", aws_access_key_id="x", aws_secret_access_key="x")
    found = {"Contents": [{"Key": "copy/voice/voice.onnx", "Size": len(WEIGHTS)}]}
    with Stubber(client) as stub:
        stub.add_response("list_objects_v2", found)
        stub.add_response("head_object", {"Metadata": {"sha256": sha256}})
        if is_sent:
            stub.add_response("put_object", {})
        assert upload(catalog, "voice", URL, SilentProgress(), client) == {"voice.onnx": is_sent}
        stub.assert_no_pending_responses()


def test_what_is_made_on_each_machine_is_copied_as_what_it_is_made_from(catalog: ModelCatalog) -> None:
    assert origin_of(catalog, "made") == "voice"


def test_catalog_with_a_mirror_fetches_from_it_and_from_nowhere_else() -> None:
    plain = ModelCatalog.load(VoxrayConfig(), {})
    mirrored = ModelCatalog.load(VoxrayConfig(paths=PathsConfig(mirror=f"{URL}/")), {})
    found = mirrored.entries["silero-vad"].source
    assert found == S3Source(type="s3", url=f"{URL}/silero-vad")
    # The same place on disk, since hashes and not sources name it.
    assert mirrored.place("silero-vad") == plain.place("silero-vad")
    assert mirrored.entries["smollm2-135m-instruct"].source == plain.entries["smollm2-135m-instruct"].source
