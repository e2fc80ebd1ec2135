from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from ingest_jobs.knowledge.read.dataset import load_dataset
from ingest_jobs.knowledge.read.sizing import expected_rows

pytestmark = pytest.mark.unit


def dataset(folder: Path, text: str = "") -> int:
    (folder / "dataset.yaml").write_text(text)
    return expected_rows(load_dataset(folder))


def test_rows_of_tables_are_guessed_from_their_first_ones(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,fee\n" + "Tent,5\n" * 50_000)
    (tmp_path / "b.jsonl").write_text('{"name": "Boot"}\n' * 30_000)
    pyarrow.parquet.write_table(pyarrow.table({"a": list(range(7_000))}), tmp_path / "c.parquet")
    assert dataset(tmp_path) == pytest.approx(87_000, rel=0.02)


def test_prose_is_guessed_from_its_size_and_the_size_of_a_passage(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Tents keep dry. " * 32_000)
    assert dataset(tmp_path, "chunking: {max_tokens: 128}") == 1000
    assert dataset(tmp_path, "chunking: {max_tokens: 512}") == 250


def test_rows_of_a_query_are_counted(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE orders (id INTEGER)")
        database.executemany("INSERT INTO orders VALUES (?)", [(n,) for n in range(12_345)])
    database.close()
    source = '{kind: sql, name: orders, url: "sqlite:///shop.db", query: "SELECT id FROM orders;"}'
    assert dataset(tmp_path, f"sources: [{source}]") == 12_345


def test_broken_table_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.parquet").write_bytes(b"PAR1 rubbish")
    assert dataset(tmp_path) == 0
