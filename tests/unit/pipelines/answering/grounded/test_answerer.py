"""What reaches the caller, whatever the engines do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from pipelines.answering.events import AnswerLimits
from pipelines.answering.grounded.answerer import UNREACHABLE, answer
from pipelines.errors import EngineError
from pipelines.ports import (
    AnswerClause,
    AnswerFinished,
    ChatMessage,
    Clause,
    GenerationRequest,
    Grounding,
    Passage,
    PassagesFound,
    RetrievalQuery,
)
from tests.agents import AGENT, LIMITS

pytestmark = pytest.mark.unit

FACTS = "Standard shipping costs $6.95. Express shipping costs $14.50."
QUESTION = "How much is standard shipping?"
BEST = "Standard shipping costs $6.95."


@dataclass
class Records:
    """A retriever with one passage, that can fail or hang."""

    text: str = FACTS
    similarity: float = 0.8
    failure: Exception | None = None
    is_hanging: bool = False
    asked: list[RetrievalQuery] = field(default_factory=list)

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        self.asked.append(query)
        if self.failure:
            raise self.failure
        if self.is_hanging:
            await asyncio.Event().wait()
        return [Passage(self.text, "faq/shipping.md", "Shipping", 1.0, self.similarity, 1.0)]


@dataclass
class Model:
    """A language model that says what it is told to; `closed` counts aborted or finished generations."""

    clauses: tuple[str, ...] = ()
    failure: Exception | None = None
    is_hanging: bool = False
    closed: int = 0
    requests: list[GenerationRequest] = field(default_factory=list)

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        self.requests.append(request)
        try:
            for number, text in enumerate(self.clauses, start=1):
                yield Clause(text, is_last=number == len(self.clauses), tokens=number, prompt_tokens=50)
            if self.failure:
                raise self.failure
            if self.is_hanging:
                await asyncio.Event().wait()
        finally:
            self.closed += 1


@dataclass
class Heard:
    """Everything that one answer gave."""

    text: str
    finished: AnswerFinished
    found: PassagesFound | None


async def hear(
    question: str,
    records: Records,
    model: Model,
    *,
    limits: AnswerLimits | None = None,
    history: list[ChatMessage] | None = None,
) -> Heard:
    clauses: list[AnswerClause] = []
    finished: list[AnswerFinished] = []
    found: list[PassagesFound] = []
    events = answer(
        question,
        history or [],
        retriever=records,
        language_model=model,
        agent=AGENT,
        limits=limits or LIMITS,
    )
    async for event in events:
        match event:
            case AnswerClause():
                clauses.append(event)
            case AnswerFinished():
                finished.append(event)
            case PassagesFound():
                found.append(event)
    assert [c.is_last for c in clauses].count(True) == 1
    assert clauses[-1].is_last
    assert len(finished) == 1
    return Heard("".join(c.text for c in clauses), finished[0], found[0] if found else None)


async def test_model_is_heard_when_its_words_are_grounded() -> None:
    model = Model(("Standard shipping is $6.95.", " It is great."))
    heard = await hear(QUESTION, Records(), model)
    assert heard.text == "Standard shipping is $6.95."
    assert heard.finished == AnswerFinished(Grounding.MODEL, "", 50, 1)
    assert model.closed == 1
    assert model.requests[0].temperature == 0.0


@pytest.mark.parametrize(
    "lie", ["Standard shipping costs $3.", "Express shipping costs $6.95.", "Shipping is free.", ""]
)
async def test_passage_is_heard_when_the_model_is_not_grounded(lie: str) -> None:
    heard = await hear(QUESTION, Records(), Model((lie,)))
    assert heard.text == BEST
    assert heard.finished.grounded is Grounding.PASSAGE
    assert heard.finished.rejected


async def test_begun_sentence_is_completed_from_the_passage() -> None:
    heard = await hear(QUESTION, Records(), Model(("Standard shipping", " is free for ever.")))
    assert heard.text == BEST
    assert heard.finished.grounded is Grounding.MIXED


async def test_answer_ends_when_the_fact_is_told_before_the_model_strays() -> None:
    heard = await hear(
        QUESTION, Records(), Model(("Standard shipping costs $6.95,", " which is a fraction of a dollar."))
    )
    assert heard.text == "Standard shipping costs $6.95,"
    assert heard.finished.grounded is Grounding.MODEL


async def test_remark_without_the_fact_is_not_heard() -> None:
    heard = await hear("Is there standard shipping?", Records(), Model(("Yes.",)))
    assert heard.text == BEST
    assert heard.finished == AnswerFinished(Grounding.PASSAGE, "incomplete", 50, 1)


async def test_clauses_wait_until_the_fact_is_told() -> None:
    heard = await hear(QUESTION, Records(), Model(("For standard shipping,", " it costs $6.95.")))
    assert heard.text == "For standard shipping, it costs $6.95."
    assert heard.finished.grounded is Grounding.MODEL


@pytest.mark.parametrize("is_hanging", [True, False])
async def test_model_that_fails_or_hangs_costs_the_caller_nothing(is_hanging: bool) -> None:
    failure = None if is_hanging else EngineError("language_model", "died", retryable=True)
    model = Model(failure=failure, is_hanging=is_hanging)
    heard = await hear(QUESTION, Records(), model, limits=replace(LIMITS, first_clause_budget_ms=1))
    assert heard.text == BEST
    assert model.closed == 1


@pytest.mark.parametrize(
    "records",
    [Records(failure=EngineError("retriever", "gone", retryable=True)), Records(is_hanging=True)],
    ids=["fails", "hangs"],
)
async def test_unreachable_records_are_admitted(records: Records) -> None:
    model = Model(("It is $5.",))
    heard = await hear(QUESTION, records, model, limits=replace(LIMITS, retrieval_budget_ms=1))
    assert heard.text == UNREACHABLE
    assert heard.finished.grounded is Grounding.UNREACHABLE
    assert model.requests == []


async def test_nothing_near_is_refused_without_asking_the_model() -> None:
    model = Model(("It is sunny.",))
    heard = await hear("What is the weather?", Records(similarity=0.1), model)
    assert heard.text == AGENT.refusal
    assert heard.found is not None
    assert heard.found.chosen is None
    assert model.requests == []


async def test_order_that_is_not_on_record_is_refused() -> None:
    heard = await hear("Where is order 2950?", Records("Order FH-1042 has shipped.", similarity=0.9), Model())
    assert heard.finished.grounded is Grounding.REFUSED


async def test_thanks_need_no_records() -> None:
    records = Records()
    heard = await hear("Thank you so much!", records, Model())
    assert heard.finished.grounded is Grounding.COURTESY
    assert records.asked == []


async def test_only_the_agents_tenant_is_searched() -> None:
    records = Records()
    await hear(QUESTION, records, Model((BEST,)))
    assert [query.tenant for query in records.asked] == [AGENT.tenant]


async def test_closing_the_answer_closes_the_generation() -> None:
    model = Model(("Standard shipping", " costs $6.95."))
    events = answer(QUESTION, [], retriever=Records(), language_model=model, agent=AGENT, limits=LIMITS)
    async for event in events:
        if isinstance(event, AnswerClause):
            break
    await events.aclose()
    assert model.closed == 1
