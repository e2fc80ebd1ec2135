from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest_jobs.measuring.retrieval.questions import RetrievalQuestion, Target, load_retrieval_questions
from pipelines.answering.scoring import EvalQuestion
from pipelines.errors import ConfigError
from pipelines.ports import Passage

pytestmark = pytest.mark.unit


def passage(source: str, title: str = "T", text: str = "A text.") -> Passage:
    return Passage(text, source, title, 1.0, 0.5)


def test_each_document_is_counted_once_where_it_first_stands() -> None:
    question = RetrievalQuestion("q", "k", "?", (Target("a.md"), Target("b.md", "B")))
    found = [passage("x.md"), passage("a.md"), passage("a.md"), passage("b.md", "other"), passage("b.md", "B")]
    assert question.marks(found) == [False, True, False, False, True]
    assert question.relevant == 2


def test_passage_that_tells_the_fact_is_relevant() -> None:
    facts = EvalQuestion("q", "faq", "How long?", (("45 days",),))
    question = RetrievalQuestion("q", "faq", "How long?", facts=facts)
    told = [
        passage("a.md", text="Ask us."),
        passage("b.md", text="Within forty five days."),
        passage("c.md", text="45 days."),
    ]
    assert question.marks(told) == [False, True, False]
    assert question.relevant == 1


def test_both_forms_are_read_and_the_unanswerable_left_out(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    rows = [
        {"id": "1", "kind": "name", "question": "What?", "relevant": [{"source": "a.md"}]},
        {"id": "2", "kind": "faq", "question": "How long?", "expected": [["45 days"]]},
        {"id": "3", "kind": "unanswerable", "question": "Who?", "expected": []},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n", "utf-8")
    questions = load_retrieval_questions(path)
    assert [(q.id, q.targets, q.facts is not None) for q in questions] == [
        ("1", (Target("a.md"),), False),
        ("2", (), True),
    ]


@pytest.mark.parametrize("line", ["{", '{"id": "1"}', '{"id": "1", "kind": "k", "question": "?"}', ""])
def test_line_that_is_no_question_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(f"{line}\n", "utf-8")
    with pytest.raises(ConfigError, match=r"q\.jsonl"):
        load_retrieval_questions(path)
    with pytest.raises(ConfigError, match="no such file"):
        load_retrieval_questions(tmp_path / "none.jsonl")
