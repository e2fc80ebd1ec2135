from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from ingest_jobs.measuring.retrieval import docstrings, evaluation_set
from ingest_jobs.measuring.retrieval.docstrings import DocumentedObject, documented_objects
from ingest_jobs.measuring.retrieval.evaluation_set import made_questions, make_evaluation_set, source_of

pytestmark = pytest.mark.unit

SAMPLE = Path(__file__).resolve().parents[5] / "ingest_jobs" / "sample_data"
SOURCE = '''
def read_rows(path):
    """Return the parsed rows of a compressed table file.

    The file may be compressed with any of the methods that the standard library knows, which is told by its suffix.
    Rows that cannot be parsed are skipped when ``lenient`` is true, and are counted in the attribute `skipped`.

    >>> read_rows("a.csv")

    Parameters
    ----------
    path : str
        The file.
    """

def _hidden():
    """Return nothing, at great length, so that it would be a document if it were not private, which it is, as said."""

def short():
    """Too short."""
'''


def objects() -> list[DocumentedObject]:
    return list(docstrings._objects_in(ast.parse(SOURCE), "shop", "shop.tables"))


def test_prose_is_kept_and_code_is_not() -> None:
    (found,) = objects()
    assert (found.name, found.spoken_name, found.summary) == (
        "read_rows",
        "read rows",
        "Return the parsed rows of a compressed table file",
    )
    assert "lenient is true" in found.body
    assert not any(part in found.body for part in (">>>", "Parameters", "----", "`"))


@pytest.mark.parametrize(
    ("name", "spoken"), [("read_csv", "read csv"), ("HTTPServer", "http server"), ("maxPool2d", "max pool2d")]
)
def test_names_are_said_as_words(name: str, spoken: str) -> None:
    assert DocumentedObject("p", name, "m", "s", "b").spoken_name == spoken


def test_questions_are_of_three_kinds_about_different_documents() -> None:
    (found,) = objects()
    several = [DocumentedObject("shop", f"read_rows{c}", "shop.tables", found.summary, found.body) for c in "abcdefghi"]
    questions = made_questions(several)
    assert {q.kind for q in questions} == {"purpose", "detail", "name"}
    assert len({q.source for q in questions}) == len(questions)
    purpose = next(q for q in questions if q.kind == "purpose")
    assert purpose.question == "Is there something that give back the parsed rows of a compressed table file?"
    assert next(q for q in questions if q.kind == "name").question.startswith("Tell me about read rows")


def test_set_is_written_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = documented_objects(["httpx", "websockets", "rich", "no-such-package"])
    assert len(found) > 30
    monkeypatch.setattr(evaluation_set, "documented_objects", lambda: list(found))
    counts = {make_evaluation_set(tmp_path / name, SAMPLE, 25) for name in ("one", "two", "one")}
    assert len(counts) == 1
    one, two = (sorted((tmp_path / name).rglob("*.*")) for name in ("one", "two"))
    assert [p.read_bytes() for p in one if p.is_file()] == [p.read_bytes() for p in two if p.is_file()]
    rows = [json.loads(line) for line in (tmp_path / "one" / "questions.jsonl").read_text("utf-8").splitlines()]
    assert {row["kind"] for row in rows} >= {"sample", "name"}
    for row in rows:
        assert "expected" in row or (tmp_path / "one" / "data" / row["relevant"][0]["source"]).is_file()
    assert (tmp_path / "one" / "data" / source_of(found[0])).is_file()
