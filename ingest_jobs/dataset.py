"""What a source folder is to the ingest job: its files, how its tables read as sentences, and its fingerprint."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import ConfigError

DATASET_FILE = "dataset.yaml"
READABLE_SUFFIXES = frozenset({".md", ".html", ".htm", ".csv", ".tsv", ".jsonl", ".txt"})


class SentenceRule(BaseModel):
    """One sentence about a row. With `column`, `say` holds when the column equals `equals`, else `otherwise` does."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    say: str
    column: str = ""
    equals: str = ""
    otherwise: str = ""


class TableRule(BaseModel):
    """How the rows of a table become a titled passage."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: str
    sentences: tuple[SentenceRule, ...] = Field(min_length=1)


class Dataset(BaseModel):
    """The parsed `dataset.yaml`; a folder without one has the defaults. `tables` is keyed by file name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    exclude: tuple[str, ...] = ()
    tables: dict[str, TableRule] = {}


def load_dataset(source: Path) -> Dataset:
    """Read the folder's description.

    Raises:
        ConfigError: the folder is missing, or its `dataset.yaml` is not valid; the message names the file.
    """
    if not source.is_dir():
        raise ConfigError(f"{source}: no such folder of business data")
    path = source / DATASET_FILE
    if not path.exists():
        return Dataset()
    try:
        return Dataset.model_validate(yaml.safe_load(path.read_text("utf-8")) or {})
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error


def source_files(source: Path, dataset: Dataset) -> Iterator[Path]:
    """Yield the readable files in a stable order. Links are not followed out of the folder."""
    root = source.resolve()
    for path in sorted(root.rglob("*")):
        is_excluded = path.name == DATASET_FILE or any(fnmatch.fnmatch(path.name, p) for p in dataset.exclude)
        is_inside = path.is_file() and path.resolve().is_relative_to(root)
        if path.suffix.lower() in READABLE_SUFFIXES and is_inside and not is_excluded:
            yield path


def fingerprint(source: Path, dataset: Dataset, *salts: str) -> str:
    """Return a hash of all content, the description and `salts` (pipeline version, model): equal means unchanged."""
    digest = hashlib.sha256("\0".join((*salts, dataset.model_dump_json())).encode())
    root = source.resolve()
    for path in source_files(source, dataset):
        digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
