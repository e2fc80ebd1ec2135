"""How answers are judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.answering.evaluation import by_kind, evaluate, tally
from pipelines.answering.scoring import EvalQuestion, Verdict, judge, load_questions
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit

RETURNS = EvalQuestion("q1", "faq", "How long?", (("45 days",),), ("60 days",))
UNKNOWN = EvalQuestion("q2", "unanswerable", "Weather?", ())
SAMPLE = Path(__file__).resolve().parents[4] / "ingest_jobs" / "sample_data"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("Within forty-five days.", Verdict.RIGHT),
        ("You have 45 days.", Verdict.RIGHT),
        ("You have 145 days.", Verdict.WRONG),
        ("45 days, or 60 days for members.", Verdict.WRONG),
        ("", Verdict.WRONG),
        ("I'm sorry, I don't have that information.", Verdict.REFUSED),
    ],
)
def test_answer_is_judged_by_facts_and_contradictions(answer: str, verdict: Verdict) -> None:
    assert judge(RETURNS, answer) is verdict


def test_refusal_is_right_where_nothing_can_be_known() -> None:
    assert judge(UNKNOWN, "I don\u2019t have that information.") is Verdict.RIGHT
    assert judge(UNKNOWN, "It will be sunny.") is Verdict.WRONG


@pytest.mark.parametrize(
    ("wanted", "said"), [("$28", "28 dollars"), ("8 p.m", "8 pm."), ("70 percent", "70%"), ("6.95", "$6.95")]
)
def test_units_are_compared_in_one_form(wanted: str, said: str) -> None:
    assert judge(EvalQuestion("q", "faq", "?", ((wanted,),)), f"It is {said}") is Verdict.RIGHT


async def test_evaluation_counts_each_kind() -> None:
    async def ask(question: str) -> str:
        return "45 days" if question == RETURNS.question else "Sunny."

    results = await evaluate([RETURNS, UNKNOWN], ask)
    assert (tally(results).right, tally(results).wrong) == (1, 1)
    assert by_kind(results)["faq"].share(Verdict.RIGHT) == 1.0


def test_broken_question_file_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"id": "a", "kind": "faq", "question": "?", "expected": []}\n{"id": 3}\n')
    with pytest.raises(ConfigError, match=r"q.jsonl, line 2"):
        load_questions(tmp_path / "q.jsonl")


def test_sample_questions_are_two_disjoint_sets() -> None:
    tuned, held_out = load_questions(SAMPLE / "questions.jsonl"), load_questions(SAMPLE / "questions_heldout.jsonl")
    assert len(tuned) >= 40
    assert len(held_out) >= 30
    assert not {q.question for q in tuned} & {q.question for q in held_out}
