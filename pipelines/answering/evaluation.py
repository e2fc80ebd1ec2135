"""Asks a set of questions and counts the verdicts. The caller decides how a question is asked (HTTP, speech)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from pipelines.answering.scoring import EvalQuestion, Verdict, judge

Ask = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Judged:
    """One question with its answer and verdict."""

    question: EvalQuestion
    answer: str
    verdict: Verdict
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of verdicts. Shares run from 0.0 to 1.0 and are 0.0 when there are no questions."""

    right: int
    wrong: int
    refused: int

    @property
    def total(self) -> int:
        """Number of questions counted."""
        return self.right + self.wrong + self.refused

    def share(self, verdict: Verdict) -> float:
        """Return the share of questions with this verdict."""
        return int(getattr(self, verdict.value)) / self.total if self.total else 0.0


async def evaluate(
    questions: Iterable[EvalQuestion], ask: Ask, *, on_judged: Callable[[Judged], None] | None = None
) -> list[Judged]:
    """Ask the questions one after the other, each as a call of its own, and judge the answers."""
    results: list[Judged] = []
    for question in questions:
        started = time.perf_counter()
        said = await ask(question.question)
        elapsed_ms = (time.perf_counter() - started) * 1000
        results.append(Judged(question, said, judge(question, said), elapsed_ms))
        if on_judged:
            on_judged(results[-1])
    return results


def tally(results: Sequence[Judged]) -> Tally:
    """Count the verdicts."""
    found = [result.verdict for result in results]
    return Tally(found.count(Verdict.RIGHT), found.count(Verdict.WRONG), found.count(Verdict.REFUSED))


def by_kind(results: Sequence[Judged]) -> dict[str, Tally]:
    """Count the verdicts of each kind of question, in the order in which the kinds first appear."""
    kinds = dict.fromkeys(result.question.kind for result in results)
    return {kind: tally([r for r in results if r.question.kind == kind]) for kind in kinds}
