"""Stores compiled Neuron engines by key, defines what a key consists of, and refuses to start without an engine.

Neuron compiles a model for fixed shapes, which takes many minutes. The job `deployments.commands.compile_neuron` does
it once and publishes the folder, which every replica fetches. The layout below the store's URL is:

    MODEL/KEY/manifest.json     what it was compiled from, and the SHA-256 of each file; written last
    MODEL/KEY/...               the files of NEURON_COMPILED_ARTIFACTS

KEY is the first 16 digits of the SHA-256 of the JSON (sorted keys, no spaces) of `ArtifactKey.parts`: the model and its
revision in the catalog, the SDK, and every shape. The key contains everything that changes the compiled program, so an
artefact that fits is found and any other is never loaded.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from pipelines.errors import Component, ConfigError, EngineError

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ArtifactKey:
    """Everything a compiled engine depends on.

    Attributes:
        model: catalog name.
        revision: the model's revision in the catalog.
        sdk: the Neuron SDK's version.
        max_model_len: the most tokens of prompt and answer.
        max_num_seqs: compiled batch size.
        tensor_parallel_size: number of NeuronCores.
        buckets: compiled prompt lengths.
        block_tokens: tokens per block of the key-value cache.
        dtype: data type of weights and activations.
    """

    model: str
    revision: str
    sdk: str
    max_model_len: int
    max_num_seqs: int
    tensor_parallel_size: int
    buckets: tuple[int, ...]
    block_tokens: int = 32
    dtype: str = "bfloat16"

    @property
    def parts(self) -> dict[str, Any]:
        """The parts of the key, as plain data."""
        return {**asdict(self), "buckets": list(self.buckets)}

    @property
    def digest(self) -> str:
        text = json.dumps(self.parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def path(self) -> str:
        """Path of the engine below the store's URL."""
        return f"{self.model}/{self.digest}"


class ArtifactStore(Protocol):
    """Files by path below one URL.

    A missing file raises FileNotFoundError; other faults raise a retryable EngineError.
    """

    @property
    def url(self) -> str:
        """URL of the store."""

    def get(self, path: str, target: Path) -> None:
        """Write the file to `target`, whose folder exists."""

    def put(self, source: Path, path: str) -> None:
        """Store a file, replacing an existing one."""


@dataclass(frozen=True, slots=True)
class FolderStore:
    """A folder that every node mounts, or that exists on the only machine."""

    url: str

    def get(self, path: str, target: Path) -> None:
        shutil.copyfile(Path(self.url) / path, target)

    def put(self, source: Path, path: str) -> None:
        target = Path(self.url) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


@dataclass(frozen=True, slots=True)
class S3Store:
    """Objects in S3. boto3 finds the credentials (the node's role)."""

    url: str
    client: Any

    def get(self, path: str, target: Path) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, key = self._place(path)
        try:
            self.client.download_file(bucket, key, str(target))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                raise FileNotFoundError(f"s3://{bucket}/{key}") from error
            raise EngineError(Component.LANGUAGE_MODEL, f"cannot read s3://{bucket}/{key}", retryable=True) from error
        except BotoCoreError as error:
            raise EngineError(Component.LANGUAGE_MODEL, f"cannot read s3://{bucket}/{key}", retryable=True) from error

    def put(self, source: Path, path: str) -> None:
        self.client.upload_file(str(source), *self._place(path))

    def _place(self, path: str) -> tuple[str, str]:
        parts = urlsplit(self.url)
        return parts.netloc, "/".join(piece for piece in (parts.path.strip("/"), path) if piece)


def open_store(url: str) -> ArtifactStore:
    """Return the store behind a URL: s3://BUCKET/PREFIX, file:///FOLDER, or a folder's path."""
    parts = urlsplit(url)
    if parts.scheme == "s3":
        import boto3  # costs 0.2 s

        return S3Store(url, boto3.client("s3"))
    return FolderStore(parts.path if parts.scheme == "file" else url)


def fetch_artifacts(store: ArtifactStore, key: ArtifactKey, cache: Path) -> Path:
    """Return the local folder with the compiled engine, downloading it if necessary.

    Safe in several processes at once: each fills its own folder, and the first to finish moves it into place.

    Raises:
        ConfigError: nothing was compiled for this key, or a file's hash is wrong. The message says what to compile.
        EngineError: the store cannot be reached (retryable).
    """
    home = cache / key.path
    if (home / MANIFEST).is_file():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".incoming-") as staged:
        folder = Path(staged) / "files"
        folder.mkdir()
        manifest = _read_manifest(store, key, folder)
        for name, sha256 in sorted(manifest["files"].items()):
            _get_checked(store, key, folder / name, (name, sha256))
        try:
            folder.rename(home)
        except OSError:
            # Another process was first. The manifest, which it moved with the rest, proves that its folder is complete.
            if not (home / MANIFEST).is_file():
                raise
    return home


def publish_artifacts(store: ArtifactStore, key: ArtifactKey, folder: Path) -> None:
    """Store a compiled folder under its key. The manifest is written last, since nobody sees the rest without it.

    Raises:
        ConfigError: the folder is empty.
    """
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    names = [name for name in names if name != MANIFEST]
    if not names:
        raise ConfigError(f"nothing was compiled in {folder}")
    for name in names:
        store.put(folder / name, f"{key.path}/{name}")
    manifest = {"compiled_for": key.parts, "files": {name: _hash_of(folder / name) for name in names}}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    store.put(folder / MANIFEST, f"{key.path}/{MANIFEST}")


def _read_manifest(store: ArtifactStore, key: ArtifactKey, folder: Path) -> dict[str, Any]:
    target = folder / MANIFEST
    try:
        store.get(f"{key.path}/{MANIFEST}", target)
    except FileNotFoundError:
        shapes = ", ".join(f"{name}={value}" for name, value in key.parts.items())
        raise ConfigError(
            f"no compiled engine {key.path} in {store.url}. This replica would have to compile for many minutes, so it "
            f"refuses to start. Compile it once, on an Inferentia node with the same configuration: "
            f"`python -m deployments.commands.compile_neuron` ({shapes})"
        ) from None
    manifest: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in manifest["files"]):
        raise ConfigError(
            f"the manifest of {key.path} in {store.url} names a file outside its folder; publish it again"
        )
    return manifest


def _get_checked(store: ArtifactStore, key: ArtifactKey, target: Path, expected: tuple[str, str]) -> None:
    name, sha256 = expected
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        store.get(f"{key.path}/{name}", target)
    except FileNotFoundError:
        raise ConfigError(f"{store.url}/{key.path}/{name} is gone; compile and publish this key again") from None
    if _hash_of(target) != sha256:
        raise ConfigError(f"{store.url}/{key.path}/{name} differs from what was published; compile this key again")


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
