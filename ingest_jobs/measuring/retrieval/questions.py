"""Questions for measuring retrieval, with the passages that are relevant to them.

A line of the JSON Lines file names the relevant documents (`relevant`: a list of {"source", "title"}, title
optional), or has the facts of `voxray eval` (`expected`): a passage is then relevant if reading it out would be a right
answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.answering.scoring import UNANSWERABLE, EvalQuestion, Verdict, judge
from pipelines.errors import ConfigError
from pipelines.ports import Passage


@dataclass(frozen=True, slots=True)
class Target:
    """A relevant document: its source, and its title where a source holds several."""

    source: str
    title: str = ""

    def is_met_by(self, passage: Passage) -> bool:
        return passage.source == self.source and self.title in ("", passage.title)


@dataclass(frozen=True, slots=True)
class RetrievalQuestion:
    """A question with its relevant documents, or else with the facts that a relevant passage contains."""

    id: str
    kind: str
    question: str
    targets: tuple[Target, ...] = ()
    facts: EvalQuestion | None = None

    @property
    def relevant(self) -> int:
        """Number of documents to find. For a question with facts, one passage is enough."""
        return len(self.targets) or 1

    def marks(self, passages: Sequence[Passage]) -> list[bool]:
        """Return for each passage whether it is the first from a relevant document."""
        if self.facts is not None:
            told = [judge(self.facts, f"{p.title}. {p.text}") is Verdict.RIGHT for p in passages]
            return [right and not any(told[:place]) for place, right in enumerate(told)]
        missing = set(self.targets)
        marks: list[bool] = []
        for passage in passages:
            met = {target for target in missing if target.is_met_by(passage)}
            marks.append(bool(met))
            missing -= met
        return marks


def load_retrieval_questions(path: Path) -> list[RetrievalQuestion]:
    """Read the questions that the data can answer, skipping those of kind "unanswerable".

    Raises:
        ConfigError: the file is missing or empty, or a line is not a question. The message names file and line.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file of questions")
    questions: list[RetrievalQuestion] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if line.strip():
            try:
                questions += _parsed(json.loads(line))
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise ConfigError(f"{path.name}, line {number}: not a question ({error})") from error
    if not questions:
        raise ConfigError(f"{path}: holds no question that can be answered")
    return questions


def _parsed(row: dict[str, Any]) -> list[RetrievalQuestion]:
    name, kind, text = str(row["id"]), str(row["kind"]), str(row["question"])
    if "relevant" in row:
        targets = tuple(Target(str(each["source"]), str(each.get("title", ""))) for each in row["relevant"])
        return [RetrievalQuestion(name, kind, text, targets)] if targets else []
    if kind == UNANSWERABLE:
        return []
    expected = tuple(tuple(map(str, fact)) for fact in row["expected"])
    contradictions = tuple(map(str, row.get("contradictions", ())))
    return [RetrievalQuestion(name, kind, text, facts=EvalQuestion(name, kind, text, expected, contradictions))]
