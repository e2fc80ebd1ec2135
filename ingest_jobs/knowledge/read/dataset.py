"""The dataset description, a YAML file by a data team that says where the data is, how to read it, and where it goes.

Every default is defined here, once. A folder is a dataset too, described by its `dataset.yaml` or by the defaults.
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
    """Files below a folder. A relative `path` starts at the dataset's file, and patterns match relative paths."""

    kind: Literal["folder"] = "folder"
    path: str = "."
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()


class S3Source(Section):
    """Objects below `url` (s3://BUCKET/PREFIX). boto3 finds the credentials: role, environment or profile."""

    kind: Literal["s3"]
    url: str = Field(pattern=r"^s3://[^/]+(/.*)?$")
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    region: str = ""
    endpoint_url: str = ""


class SqlSource(Section):
    """Rows of one query. `name` takes the place of a file name (in `tables` and as the source of passages).

    `url` is a SQLAlchemy URL without a password; `password_env` names the variable that holds the password. A relative
    SQLite file starts at the dataset's file.
    """

    kind: Literal["sql"]
    name: str = Field(min_length=1)
    url: str = Field(min_length=1)
    query: str = Field(min_length=1)
    password_env: str = ""
    batch_rows: int = Field(default=1000, ge=1)


class HttpSource(Section):
    """Web pages given by URLs and sitemaps. From a sitemap only pages on its own host are read."""

    kind: Literal["http"]
    urls: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()
    timeout_s: float = Field(default=20.0, gt=0)


Source = Annotated[FolderSource | S3Source | SqlSource | HttpSource, Field(discriminator="kind")]


class SentenceRule(Section):
    """One sentence about a row. With `column`, `say` is used if the column equals `equals`, and `otherwise` if not."""

    say: str
    column: str = ""
    equals: str = ""
    otherwise: str = ""


class TableRule(Section):
    """How the rows of a table become documents.

    Attributes:
        title: template over the row's columns; "" uses the first column.
        sentences: what is said about a row; without any, every column is listed.
        id: column that identifies a row; "" numbers the rows with the same title.
        subject: column with the person a row is about, for erasure.
        updated_at: column with the row's date (ISO 8601); "" uses the file's date.
        expires_at: column with the date (ISO 8601) from which a row is no longer used.
        drop: columns that are never spoken; not needed with `sentences`, which says what is.
        fields: maps a dataset's field to its column. A column with the field's name is used by default.
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
    """Which personal data is replaced before anything is embedded or stored, with the attributes of `MaskingPolicy`."""

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
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        return patterns


class ChunkingRule(Section):
    """Size of a passage in tokens of the embedding model, without its title.

    The overlap consists of whole sentences.
    """

    max_tokens: int = Field(default=128, ge=16, le=512)
    overlap_tokens: int = Field(default=24, ge=0, le=128)


class EmbeddingRule(Section):
    """The embedding stage. A `model` of "" uses the retriever's model, since with any other nothing would be found."""

    engine: Literal["transformers", "scripted"] = "transformers"
    model: str = ""
    workers: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=1, ge=1, le=64)
    num_cpus: float = Field(default=1.0, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)
    batch_rows: int = Field(default=64, ge=1, le=4096)


class Placement(Section):
    """Where a job runs on a cluster that also serves calls.

    Attributes:
        resource: custom resource of nodes for such jobs; ignored if no node has it.
        readers: workers of the reading stage. Several pay off when PDF and DOCX are parsed for several embedders.
        cpu_share: share of the cluster's CPUs that the job's stages may use at once.
        niceness: how readily the job's processes yield the CPU, since calls come first on shared cores.
    """

    resource: str = "ingest"
    readers: int = Field(default=1, ge=1, le=64)
    cpu_share: Share = 0.5
    niceness: int = Field(default=15, ge=0, le=19)


class Limits(Section):
    """Limits beyond which data is set aside, and the share set aside beyond which the job must not go live."""

    max_file_bytes: int = Field(default=64 * MIB, ge=1024, description="Largest file that is read as a whole.")
    max_line_bytes: int = Field(default=1 * MIB, ge=1024, description="Longest row or line.")
    max_unpacked_bytes: int = Field(default=256 * MIB, ge=1024, description="Largest size that a file may unpack to.")
    max_pages: int = Field(default=2000, ge=1, description="Most pages of one document.")
    max_parse_s: float = Field(default=60, gt=0, description="Longest time for one PDF or DOCX.")
    max_parse_bytes: int = Field(default=1024 * MIB, ge=64 * MIB, description="Most memory for one PDF or DOCX.")
    max_failed_share: Share = 0.1


class QualityGate(Section):
    """What a new version must achieve before it goes live. The first version has nothing to be compared with."""

    min_row_share: Share = 0.5
    probes: int = Field(default=50, ge=0, le=1000)
    min_probe_recall: Share = 0.8
    golden: str = Field(
        default="", description='JSON Lines with "question" and "source", by a path relative to the dataset.'
    )
    golden_top: int = Field(default=5, ge=1, le=50)
    min_golden_recall: Share = 0.8


class Retention(Section):
    """`expire_after_days` counts from a document's date; 0 means never. A row's `expires_at` takes precedence."""

    expire_after_days: int = Field(default=0, ge=0)


class Schedule(Section):
    """How often the dataset is indexed; 0 means no schedule. Any timer may call `voxray ingest submit --if-due`."""

    every_hours: float = Field(default=0, ge=0)


class Dataset(Section):
    """The parsed description. The keys of `tables` are file name patterns or names of SQL sources.

    If `tenant` or `collection` is "", the running configuration's is used. `subject_pattern` is a regular expression
    that is matched on a file's path; its group `subject` is the person that the whole file is about. `fields` are the
    fields that searches may be filtered by, with their types; a file's values come from the groups of `path_fields`,
    matched on its path.
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
        """Return a hash of everything that determines what a document becomes. If it changes, everything is rebuilt."""
        deciding = {"tables", "subject_pattern", "fields", "path_fields", "masking", "chunking", "retention"}
        parts = self.model_dump(include=deciding, mode="json")
        engine = {"engine": self.embedding.engine, "model": self.embedding.model}
        text = yaml.safe_dump([parts, engine, *salts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def dataset_file(path: Path) -> Path | None:
    """Return the file that describes `path` (a YAML file or a folder), or None for a folder without one.

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
    """Read a description and make its relative paths absolute.

    Raises:
        ConfigError: the description is missing or wrong. The message names the file and each wrong key.
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
        raise ConfigError(f"{file}: {where}this is not YAML: {error.problem}") from error
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
