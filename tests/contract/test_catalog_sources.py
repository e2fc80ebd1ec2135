"""Every kind of source, asked through the real tools: pip, npm, boto3 (stubbed at the wire), folders, converters."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from typer.testing import CliRunner

from cluster.catalog import ModelCatalog
from cluster.catalog.catalog import names_used_by
from cluster.catalog.entries import SHIPPED_FILE, ModelEntry, read_entries
from cluster.catalog.errors import CatalogError, SourceRefused, SourceUnreachable, UnknownModel, WrongHash
from cluster.catalog.progress import SilentProgress
from cluster.catalog.remotes import S3File
from cluster.catalog.store import ModelStore
from cluster.catalog.transfer import Patience, transfer
from cluster.cli.models import app
from cluster.config.layers import read_layer
from cluster.config.loading import PROFILES, PROFILES_FOLDER
from cluster.config.schema import VoxrayConfig
from pipelines.errors import ConfigError
from tests.contract.catalog_server import FileServer, Served, running_server

pytestmark = pytest.mark.contract

WEIGHTS = bytes(range(256)) * 4000
WHEEL = "acme_ear-1.0-py3-none-any.whl"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with running_server() as running:
        yield running


def wheel(*, package: str = "acme_ear", **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{package}/{name}", content)
        archive.writestr(f"{package}/__init__.py", "raise SystemExit('a catalog package was imported')")
        metadata = f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n"
        archive.writestr(f"{package}-1.0.dist-info/METADATA", metadata)
        archive.writestr(f"{package}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{package}-1.0.dist-info/RECORD", "")
    return buffer.getvalue()


def offer(server: FileServer, name: str, content: bytes, *, promised: bytes | None = None) -> None:
    """Put a wheel into the server's package index; `promised` is the content whose hash the index tells."""
    digest = hashlib.sha256(content if promised is None else promised).hexdigest()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        metadata = archive.read(next(member for member in archive.namelist() if member.endswith("METADATA")))
    page = f'<a href="/files/{name}#sha256={digest}" data-core-metadata="true">{name}</a>'.encode()
    package = name.partition("-")[0].replace("_", "-")
    server.files[f"/simple/{package}/"] = Served(page, content_type="text/html")
    server.files[f"/files/{name}"] = Served(content)
    server.files[f"/files/{name}.metadata"] = Served(metadata)


@pytest.fixture
def index(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """The user's pip is configured to the test's own index, and to nothing else."""
    for variable in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT", "PIP_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return server


def entry(name: str, source: dict[str, Any], **files: bytes) -> ModelEntry:
    described = [
        {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in files.items()
    ]
    return ModelEntry.model_validate(
        {"name": name, "kind": "speech", "licence": {"spdx": "MIT"}, "files": described, "source": source}
    )


def catalog_of(folder: Path, *entries: ModelEntry) -> ModelCatalog:
    patience = Patience(tries=2, first_wait_s=0.0)
    return ModelCatalog({e.name: e for e in entries}, ModelStore(folder), {}, patience=patience)


def wheel_source(package: str = "acme-ear") -> dict[str, Any]:
    return {"type": "wheel", "package": package, "version": "1.0", "root": package.replace("-", "_")}


def test_wheel_is_found_by_pip_and_read_as_plain_data(index: FileServer, tmp_path: Path) -> None:
    offer(index, WHEEL, wheel(model=WEIGHTS, config=b"{}"))
    folder = catalog_of(tmp_path, entry("ear", wheel_source(), model=WEIGHTS, config=b"{}")).fetch("ear")
    assert {path.name for path in folder.iterdir()} == {"model", "config"}
    assert (folder / "model").read_bytes() == WEIGHTS
    assert not list(tmp_path.rglob("*.whl"))


def test_cut_wheel_download_goes_on(index: FileServer, tmp_path: Path) -> None:
    content = wheel(model=WEIGHTS)
    offer(index, WHEEL, content)
    index.files[f"/files/{WHEEL}"].cuts = [len(content) // 2]
    catalog_of(tmp_path, entry("ear", wheel_source(), model=WEIGHTS)).fetch("ear")
    assert index.ranges_of(f"/files/{WHEEL}") == ["", f"bytes={len(content) // 2}-"]


def test_wheel_other_than_the_index_promises_is_deleted(index: FileServer, tmp_path: Path) -> None:
    offer(index, WHEEL, wheel(model=WEIGHTS), promised=b"another")
    with pytest.raises(WrongHash, match=WHEEL):
        catalog_of(tmp_path, entry("ear", wheel_source(), model=WEIGHTS)).fetch("ear")
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".whl", ".part")]


def test_archive_is_kept_for_the_other_model_in_it_and_then_let_go(index: FileServer, tmp_path: Path) -> None:
    offer(index, WHEEL, wheel(one=WEIGHTS, two=b"2"))
    catalog = catalog_of(
        tmp_path, entry("first", wheel_source(), one=WEIGHTS), entry("second", wheel_source(), two=b"2")
    )
    catalog.fetch("first")
    catalog.fetch("second")
    assert len(index.ranges_of(f"/files/{WHEEL}")) == 1
    assert not list(tmp_path.rglob("*.whl"))


def test_file_cut_over_several_wheels_is_joined_in_order(index: FileServer, tmp_path: Path) -> None:
    for number, half in ((1, WEIGHTS[:500_000]), (2, WEIGHTS[500_000:])):
        offer(index, f"acme_half_{number}-1.0-py3-none-any.whl", wheel(package=f"acme_half_{number}", part=half))
    source = {"type": "joined", "member": "part", "parts": [wheel_source("acme-half-1"), wheel_source("acme-half-2")]}
    folder = catalog_of(tmp_path, entry("ear", source, model=WEIGHTS)).fetch("ear")
    assert (folder / "model").read_bytes() == WEIGHTS


def test_wheel_of_a_folder_of_wheels_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / WHEEL).write_bytes(wheel(model=WEIGHTS))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    folder = catalog_of(tmp_path / "models", entry("ear", wheel_source(), model=WEIGHTS)).fetch("ear")
    assert (folder / "model").read_bytes() == WEIGHTS
    assert (tmp_path / "wheels" / WHEEL).exists()


def test_index_without_metadata_files_serves_as_well(index: FileServer, tmp_path: Path) -> None:
    offer(index, WHEEL, wheel(model=WEIGHTS))
    page = index.files["/simple/acme-ear/"]
    page.content = page.content.replace(b' data-core-metadata="true"', b"")
    assert catalog_of(tmp_path, entry("ear", wheel_source(), model=WEIGHTS)).fetch("ear").is_dir()


def test_package_that_the_index_lacks_is_refused(index: FileServer, tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r"acme-ear==1\.0: pip does not find it.*pip config list"):
        catalog_of(tmp_path, entry("ear", wheel_source(), model=WEIGHTS)).fetch("ear")


def test_index_out_of_reach_is_told_apart_from_a_missing_package(
    index: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(SourceUnreachable, match="Is there a network"):
        catalog_of(tmp_path, entry("ear", wheel_source(), model=WEIGHTS)).fetch("ear")


def test_member_that_the_wheel_lacks_is_named(index: FileServer, tmp_path: Path) -> None:
    offer(index, WHEEL, wheel(other=b"1"))
    with pytest.raises(SourceRefused, match="holds no file acme_ear/model"):
        catalog_of(tmp_path, entry("ear", wheel_source(), model=WEIGHTS)).fetch("ear")


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm sources need npm, which no other part of the product does")
def test_npm_tarball_is_found_by_npm_and_read_as_plain_data(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tarball:
        member = tarfile.TarInfo("package/voices/heart")
        member.size = len(WEIGHTS)
        tarball.addfile(member, io.BytesIO(WEIGHTS))
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(buffer.getvalue()).digest()).decode()
    dist = {"tarball": f"{server.url}/acme-voice-1.0.0.tgz", "integrity": integrity}
    version = {"name": "acme-voice", "version": "1.0.0", "dist": dist}
    document = {"name": "acme-voice", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    server.files["/acme-voice"] = Served(json.dumps(document).encode(), content_type="application/json")
    server.files["/acme-voice-1.0.0.tgz"] = Served(buffer.getvalue())
    monkeypatch.setenv("npm_config_registry", server.url)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    source = {"type": "npm", "package": "acme-voice", "version": "1.0.0", "root": "package/voices"}
    folder = catalog_of(tmp_path / "models", entry("voice", source, heart=WEIGHTS)).fetch("voice")
    assert (folder / "heart").read_bytes() == WEIGHTS


def test_s3_object_is_taken_up_where_the_line_broke(tmp_path: Path) -> None:
    client = boto3.client("s3", region_name="eu-north-1", aws_access_key_id="x", aws_secret_access_key="x")
    half = len(WEIGHTS) // 2
    with Stubber(client) as stub:
        where = {"Bucket": "models", "Key": "ear/model"}
        broken = {"Body": StreamingBody(io.BytesIO(WEIGHTS[:half]), len(WEIGHTS)), "ContentLength": len(WEIGHTS)}
        stub.add_response("get_object", broken, where)
        rest = {
            "Body": StreamingBody(io.BytesIO(WEIGHTS[half:]), len(WEIGHTS) - half),
            "ContentLength": len(WEIGHTS) - half,
            "ContentRange": f"bytes {half}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}",
        }
        stub.add_response("get_object", rest, {**where, "Range": f"bytes={half}-"})
        transfer(
            S3File(client, "models", "ear/model"), tmp_path / "model", SilentProgress(), Patience(first_wait_s=0.0)
        )
    assert (tmp_path / "model").read_bytes() == WEIGHTS


def test_s3_refusal_is_told_with_its_code(tmp_path: Path) -> None:
    client = boto3.client("s3", region_name="eu-north-1", aws_access_key_id="x", aws_secret_access_key="x")
    remote = S3File(client, "models", "ear/model")
    with Stubber(client) as stub:
        stub.add_client_error("get_object", "AccessDenied", http_status_code=403)
        with pytest.raises(SourceRefused, match="s3://models/ear/model: the store answered 403"):
            transfer(remote, tmp_path / "model", SilentProgress(), Patience())


def test_own_store_model_without_a_store_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r"set services\.objects\.url"):
        catalog_of(tmp_path, entry("ear", {"type": "s3"}, model=WEIGHTS)).fetch("ear")


def test_folder_source_needs_no_hash_and_is_copied(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model").write_bytes(WEIGHTS)
    described = entry("ear", {"type": "folder", "folder": str(tmp_path / "mine")}, model=WEIGHTS).model_dump(
        by_alias=True
    )
    described["files"] = ["model"]
    catalog = catalog_of(tmp_path / "models", ModelEntry.model_validate(described))
    assert (catalog.fetch("ear") / "model").read_bytes() == WEIGHTS
    catalog.verify("ear")


def derived(converter: str) -> ModelEntry:
    return entry("made", {"type": "derived", "of": "raw", "converter": converter})


def upper(source: Path, target: Path) -> None:
    """A converter."""
    target.mkdir()
    (target / "result").write_bytes((source / "model").read_bytes().upper())


def fails_half_way(source: Path, target: Path) -> None:
    """A converter that leaves half a result."""
    target.mkdir()
    (target / "result").write_bytes(b"half")
    raise CatalogError(f"cannot read {source.name}")


def raw_entry(folder: Path) -> ModelEntry:
    folder.mkdir()
    (folder / "model").write_bytes(b"abc")
    return entry("raw", {"type": "folder", "folder": str(folder)}, model=b"abc")


def test_derived_model_is_made_once_and_its_result_is_held_to_its_hashes(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path / "models", raw_entry(tmp_path / "mine"), derived(f"{__name__}:upper"))
    folder = catalog.fetch("made")
    assert (folder / "result").read_bytes() == b"ABC"
    catalog.verify("made")
    (folder / "result").write_bytes(b"changed")
    with pytest.raises(WrongHash):
        catalog.verify("made")
    assert (catalog.fetch("made") / "result").read_bytes() == b"ABC"


def test_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path / "models", raw_entry(tmp_path / "mine"), derived(f"{__name__}:fails_half_way"))
    with pytest.raises(CatalogError, match="cannot read"):
        catalog.fetch("made")
    assert not list((tmp_path / "models").rglob("result"))


def test_unknown_converter_is_named(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path / "models", raw_entry(tmp_path / "mine"), derived("nowhere.at_all:convert"))
    with pytest.raises(CatalogError, match=r"nowhere\.at_all:convert cannot be loaded"):
        catalog.fetch("made")


def test_shipped_catalog_has_every_model_that_a_profile_names() -> None:
    entries = read_entries(SHIPPED_FILE)
    for profile in PROFILES:
        config = VoxrayConfig.model_validate(read_layer(PROFILES_FOLDER / f"{profile}.yaml").values)
        assert set(names_used_by(config)) <= set(entries), profile
    assert all(entries[name].is_pinned for name in names_used_by(VoxrayConfig()))


def test_wrong_entry_is_refused_with_file_name_and_key(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    for text, expected in [
        ("models: {ear: {kind: speech}}", "models.ear.licence"),
        ("models: {ear: }", "models.ear.kind"),
        ("models: 4", "a catalog holds a mapping"),
        (
            "models: {ear: {kind: speech, licence: {spdx: MIT}, files: ['../x'], source: {type: s3}}}",
            "inside the model",
        ),
        ("models: {ear: {kind: speech, licence: {spdx: MIT}, source: {type: s3}}}", "must be given"),
        ("models: [", "cannot be read as a catalog"),
    ]:
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read_entries(file)
        assert str(file) in str(caught.value)
        assert expected in str(caught.value)


def test_unknown_model_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="did you mean raw"):
        catalog_of(tmp_path, raw_entry(tmp_path / "mine")).fetch("rwa")


def test_command_line_lists_fetches_and_verifies_an_own_entry(
    tmp_path: Path, no_voxray_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model").write_bytes(WEIGHTS)
    source = {"type": "folder", "folder": str(tmp_path / "mine")}
    ear = {"kind": "speech", "licence": {"spdx": "MIT"}, "files": ["model"], "source": source}
    (tmp_path / "own.yaml").write_text(json.dumps({"models": {"ear": ear}}))
    (tmp_path / "voxray.yaml").write_text("paths: {catalog: own.yaml, models: store, state: state}")
    run = CliRunner().invoke
    listed = run(app, ["list"])
    assert next(line for line in listed.output.splitlines() if line.startswith("ear ")).split()[1:] == [
        "speech",
        "MIT",
        "not",
        "here",
    ]
    assert run(app, ["fetch", "ear"]).exit_code == 0
    assert "here already" in run(app, ["fetch", "ear"]).output
    assert "right  ear" in run(app, ["verify"]).output
    next((tmp_path / "store").rglob("model")).write_bytes(b"changed")
    verified = run(app, ["verify"])
    assert verified.exit_code == 1
    assert "changed or missing: model" in verified.output
