"""The library knows English; the sample company is known by its own files alone."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[5]
# What the sample company is about, besides the names of its products.
TRADE = frozenset("fernhollow outfitters tent backpack stove boot camping hiking trail veteran military".split())


def test_no_word_of_the_sample_company_is_in_the_library() -> None:
    with (ROOT / "ingest_jobs/sample_data/records/products.csv").open(encoding="utf-8") as file:
        products = {word for row in csv.DictReader(file) for word in re.findall(r"[A-Z][a-z]{4,}", row["name"])}
    names = re.compile(rf"\b(?:{'|'.join(sorted(products))}|(?i:{'|'.join(sorted(TRADE))})s?)\b")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in sorted((ROOT / "pipelines").rglob("*.py"))
        for match in names.finditer(path.read_text("utf-8"))
    ]
    assert len(products) > 10
    assert not found
