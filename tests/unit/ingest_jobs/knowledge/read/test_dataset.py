"""A dataset's description: typed, with errors that name file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest_jobs.knowledge.read.dataset import Dataset, FolderSource, SqlSource, load_dataset
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit


def load(tmp_path: Path, text: str) -> Dataset:
    path = tmp_path / "shop.yaml"
    path.write_text(text)
    return load_dataset(path)


def test_folder_without_a_description_has_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "my-data").mkdir()
    dataset = load_dataset(tmp_path / "my-data")
    assert dataset.name == "my-data"
    assert dataset.sources == (FolderSource(path=str(tmp_path / "my-data")),)
    assert dataset.masking.kinds == ("email", "phone", "card", "iban", "national_id")


def test_relative_paths_start_at_the_description(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    dataset = load(
        tmp_path,
        "sources:\n- {kind: folder, path: docs}\n- {kind: sql, name: t, url: 'sqlite:///shop.db', query: select 1}\n"
        "quality: {golden: golden.jsonl}\n",
    )
    assert isinstance(dataset.sources[1], SqlSource)
    assert dataset.sources[0] == FolderSource(path=str(tmp_path / "docs"))
    assert dataset.sources[1].url == f"sqlite:///{tmp_path}/shop.db"
    assert dataset.quality.golden == str(tmp_path / "golden.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sorces: []", r"shop\.yaml: sorces: unknown key"),
        ("sources:\n- {kind: ftp, url: x}", r"shop\.yaml: sources\.0: "),
        ("sources:\n- {kind: s3, url: 'http://x'}", r"shop\.yaml: sources\.0\.url: "),
        ("sources:\n- {kind: sql, name: t, url: x, query: q, pasword: p}", r"sources\.0\.pasword: unknown key"),
        ("chunking: {max_tokens: two}", r"shop\.yaml: chunking\.max_tokens: "),
        ("tenant: 'a b'", r"shop\.yaml: tenant: "),
        ("tables: {t.csv: {title: x, sentences: [{sya: x}]}}", r"tables\.t\.csv\.sentences\.0\.sya: unknown key"),
        ("masking: {allow: ['(']}", r"masking\.allow: .* is not a regular expression"),
        ("subject_pattern: 'customers/'", r"subject_pattern: needs a group named subject"),
        ("fields: {Price: number}", r"shop\.yaml: fields: fields\.Price: a field's name"),
        ("fields: {price: money}", r"shop\.yaml: fields\.price: "),
        ("tables: {t.csv: {fields: {price: usd}}}", r"'price' is used by tables or path_fields, but fields does not"),
        ("path_fields: '(?P<kind>x)'", r"'kind' is used by tables or path_fields"),
        ("path_fields: '('", r"shop\.yaml: "),
        ("a: [", r"shop\.yaml: line 1, column 5: this is not YAML: "),
        ("- a", r"shop\.yaml: a dataset is a mapping of keys"),
        ("sources:\n- {kind: folder, path: gone}", r"shop\.yaml: sources\.0\.path: .*gone: no such folder"),
    ],
)
def test_error_names_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_print_follows_what_decides_the_content_and_nothing_else() -> None:
    before = Dataset().content_print("1")
    assert before == Dataset(name="other", quality={"probes": 3}).content_print("1")
    assert before != Dataset().content_print("2")
    assert before != Dataset(masking={"kinds": ["email"]}).content_print("1")
    assert before != Dataset(chunking={"max_tokens": 64}).content_print("1")
