"""What a data team writes: one YAML file that says where the data lie, how they read, and where they go.

Every default is written here once. A folder is a dataset too: its `dataset.yaml` describes it, or the defaults do.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from deployments.engines.milvus.fields import FieldType, lay_out_fields
from pipelines.errors import ConfigError
from pipelines.privacy.masker import MaskingPolicy, PiiKind, Replacement

DATASET_FILE = "dataset.yaml"
MIB = 1024 * 1024
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Tenant = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$")]


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FolderSource(Section):
    """Files under a folder. A relative `path` starts at the dataset's file. Patterns are matched on relative paths."""

    kind: Literal["folder"] = "folder"
    path: str = "."
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()


class S3Source(Section):
    """Objects under `url` (s3://BUCKET/PREFIX). Credentials are boto3's own: role, environment or profile."""

    kind: Literal["s3"]
    url: str = Field(pattern=r"^s3://[^/]+(/.*)?$")
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    region: str = ""
    endpoint_url: str = ""


class SqlSource(Section):
    """Rows of one query; `name` stands for a file name (in `tables` and as the passages' source).

    `url` is SQLAlchemy's, without a password; `password_env` names the variable that holds it. A relative SQLite file
    starts at the dataset's file.
    """

    kind: Literal["sql"]
    name: str = Field(min_length=1)
    url: str = Field(min_length=1)
    query: str = Field(min_length=1)
    password_env: str = ""
    batch_rows: int = Field(default=1000, ge=1)


class HttpSource(Section):
    """Pages by a list of URLs and of sitemaps. Of a sitemap only pages of its own host are read."""

    kind: Literal["http"]
    urls: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()
    timeout_s: float = Field(default=20.0, gt=0)


Source = Annotated[FolderSource | S3Source | SqlSource | HttpSource, Field(discriminator="kind")]


class SentenceRule(Section):
    """One sentence about a row. With `column`, `say` holds when the column equals `equals`, else `otherwise` does."""

    say: str
    column: str = ""
    equals: str = ""
    otherwise: str = ""


class TableRule(Section):
    """How the rows of a table become documents.

    Attributes:
        title: template over the row's columns; "" is the first column.
        sentences: what is said of a row; none: every column, one by one.
        id: column that names a row; "" numbers rows of one title.
        subject: column that names the person a row is about, for erasure.
        updated_at: column with the row's date (ISO 8601); "" is the file's.
        expires_at: column with the date (ISO 8601) from which a row is no longer told.
        drop: columns that are never read out; of no use where `sentences` names what is said.
        fields: for a field of the dataset, the column that holds it; one of the same name is taken by itself.
    """

    title: str = ""
    sentences: tuple[SentenceRule, ...] = ()
    id: str = ""
    subject: str = ""
    updated_at: str = ""
    expires_at: str = ""
    drop: tuple[str, ...] = ()
    fields: dict[str, str] = {}


_DEFAULT_MASKING = MaskingPolicy()


class MaskingSection(Section):
    """Which personal data are replaced before anything is embedded or stored; the attributes of `MaskingPolicy`."""

    kinds: tuple[PiiKind, ...] = _DEFAULT_MASKING.kinds
    replacement: Replacement = _DEFAULT_MASKING.replacement
    region: str = Field(default=_DEFAULT_MASKING.region, pattern=r"^[A-Z]{2}$")
    allow: tuple[str, ...] = _DEFAULT_MASKING.allow

    def policy(self) -> MaskingPolicy:
        """Return the policy that this section describes."""
        return MaskingPolicy(self.kinds, self.replacement, self.region, self.allow)

    @field_validator("allow")
    @classmethod
    def _is_a_pattern(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns


class ChunkingRule(Section):
    """Size of a passage in tokens of the embedding model, its title not counted; the overlap is of whole sentences."""

    max_tokens: int = Field(default=128, ge=16, le=512)
    overlap_tokens: int = Field(default=24, ge=0, le=128)


class EmbeddingRule(Section):
    """The embedding stage. `model` "" is the one that the retriever asks with; another one would find nothing."""

    engine: Literal["transformers", "scripted"] = "transformers"
    model: str = ""
    workers: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=1, ge=1, le=64)
    num_cpus: float = Field(default=1.0, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)
    batch_rows: int = Field(default=64, ge=1, le=4096)


class Placement(Section):
    """Where a job runs on a cluster that answers calls.

    Attributes:
        resource: custom resource of the nodes for such jobs; ignored where no node has it.
        readers: workers of the reading stage; more than one pays where PDF and DOCX are parsed for several embedders.
        cpu_share: part of the cluster's CPUs that the job's stages may hold at once.
        niceness: how readily its processes give up the CPU; calls come first on shared cores.
    """

    resource: str = "ingest"
    readers: int = Field(default=1, ge=1, le=64)
    cpu_share: Share = 0.5
    niceness: int = Field(default=15, ge=0, le=19)


class Limits(Section):
    """What is set aside instead of read, and when so much is set aside that the job must not go live."""

    max_file_bytes: int = Field(default=64 * MIB, ge=1024, description="Largest file that is read whole.")
    max_line_bytes: int = Field(default=1 * MIB, ge=1024, description="Longest row or line.")
    max_unpacked_bytes: int = Field(default=256 * MIB, ge=1024, description="Most that a file may unpack to.")
    max_pages: int = Field(default=2000, ge=1, description="Most pages of one document.")
    max_parse_s: float = Field(default=60, gt=0, description="Longest time for one PDF or DOCX.")
    max_parse_bytes: int = Field(default=1024 * MIB, ge=64 * MIB, description="Most memory for one PDF or DOCX.")
    max_failed_share: Share = 0.1


class QualityGate(Section):
    """What a new version must show before it goes live; the first version has nothing to be compared with."""

    min_row_share: Share = 0.5
    probes: int = Field(default=50, ge=0, le=1000)
    min_probe_recall: Share = 0.8
    golden: str = Field(
        default="", description='JSON Lines with "question" and "source", by a path relative to the dataset.'
    )
    golden_top: int = Field(default=5, ge=1, le=50)
    min_golden_recall: Share = 0.8


class Retention(Section):
    """`expire_after_days` counts from a document's date (0: never); `expires_at` of a table's row goes before it."""

    expire_after_days: int = Field(default=0, ge=0)


class Schedule(Section):
    """`every_hours` 0: no schedule. `voxray ingest submit --if-due`, called by any timer, keeps it."""

    every_hours: float = Field(default=0, ge=0)


class Dataset(Section):
    """The parsed description. `tables` is keyed by file name (a pattern) or by the name of a SQL source.

    `tenant` and `collection` "" are the running configuration's. `subject_pattern` is a regular expression with a group
    `subject`, matched on a file's path: the person that the whole file is about. `fields` are what searches may be
    filtered by, with their types; a file's come from the groups of `path_fields`, matched on its path.
    """

    name: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]{0,64}$")
    tenant: Tenant = ""
    collection: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,63})?$")
    sources: tuple[Source, ...] = Field(default=(FolderSource(),), min_length=1)
    tables: dict[str, TableRule] = {}
    subject_pattern: str = ""
    fields: dict[str, FieldType] = {}
    path_fields: str = ""
    masking: MaskingSection = MaskingSection()
    chunking: ChunkingRule = ChunkingRule()
    embedding: EmbeddingRule = EmbeddingRule()
    placement: Placement = Placement()
    limits: Limits = Limits()
    quality: QualityGate = QualityGate()
    retention: Retention = Retention()
    schedule: Schedule = Schedule()

    @field_validator("subject_pattern")
    @classmethod
    def _has_a_subject(cls, pattern: str) -> str:
        if pattern and "subject" not in re.compile(pattern).groupindex:
            raise ValueError("needs a group named subject, such as customers/(?P<subject>[^/]+)/")
        return pattern

    @field_validator("fields")
    @classmethod
    def _has_columns(cls, fields: dict[str, FieldType]) -> dict[str, FieldType]:
        try:
            lay_out_fields(fields)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return fields

    @model_validator(mode="after")
    def _names_its_fields(self) -> Dataset:
        named = {name for rule in self.tables.values() for name in rule.fields}
        named |= set(re.compile(self.path_fields).groupindex)
        if unknown := sorted(named - set(self.fields)):
            raise ValueError(f"{unknown[0]!r} is used by tables or path_fields, but fields does not declare it")
        return self

    def content_print(self, *salts: str) -> str:
        """Return a hash of all that decides what a document becomes; another print means that all is made anew."""
        deciding = {"tables", "subject_pattern", "fields", "path_fields", "masking", "chunking", "retention"}
        parts = self.model_dump(include=deciding, mode="json")
        engine = {"engine": self.embedding.engine, "model": self.embedding.model}
        text = yaml.safe_dump([parts, engine, *salts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def dataset_file(path: Path) -> Path | None:
    """Return the file that describes `path` (a YAML file, or a folder), None for a folder without one.

    Raises:
        ConfigError: there is nothing at `path`.
    """
    if path.is_dir():
        file = path / DATASET_FILE
        return file if file.exists() else None
    if not path.exists():
        raise ConfigError(f"{path}: no such dataset: give a YAML file, or a folder of business data")
    return path


def load_dataset(path: Path) -> Dataset:
    """Read a description, with all relative paths in it made absolute.

    Raises:
        ConfigError: it is missing or wrong; the message names the file and each wrong key.
    """
    file = dataset_file(path)
    base = (file.parent if file else path).resolve()
    if file is None:
        return _anchored(Dataset(), base, str(path))
    try:
        raw: Any = yaml.safe_load(file.read_text("utf-8")) or {}
        if not isinstance(raw, dict):
            raise ConfigError(f"{file}: a dataset is a mapping of keys, such as `sources:`; docs/ingest.md shows one")
        return _anchored(Dataset.model_validate(raw), base, str(file))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{file}: {_problem(detail)}" for detail in error.errors())) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{file}: {where}this is no YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, re.error) as error:
        raise ConfigError(f"{file}: {error}") from error


def _problem(detail: Any) -> str:
    kinds = {"folder", "s3", "sql", "http"}  # pydantic puts the union's tag into the path
    key = ".".join(str(part) for part in detail["loc"] if part not in kinds) or "(whole file)"
    message = "unknown key" if detail["type"] == "extra_forbidden" else detail["msg"].removeprefix("Value error, ")
    return f"{key}: {message}"


def _anchored(dataset: Dataset, base: Path, file: str) -> Dataset:
    sources = tuple(_anchored_source(s, base, f"{file}: sources.{n}") for n, s in enumerate(dataset.sources))
    golden = str(base / dataset.quality.golden) if dataset.quality.golden else ""
    quality = dataset.quality.model_copy(update={"golden": golden})
    return dataset.model_copy(update={"sources": sources, "quality": quality, "name": dataset.name or base.name})


def _anchored_source(source: Source, base: Path, key: str) -> Source:
    if isinstance(source, FolderSource):
        folder = (base / source.path).resolve()
        if not folder.is_dir():
            raise ConfigError(f"{key}.path: {folder}: no such folder of business data")
        return source.model_copy(update={"path": str(folder)})
    if isinstance(source, SqlSource) and (match := re.fullmatch(r"sqlite:///(?!/)(.+)", source.url)):
        return source.model_copy(update={"url": f"sqlite:///{base / match[1]}"})
    return source
