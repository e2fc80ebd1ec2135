"""Answer one question: search, judge nearness, let the model speak under guard, fall back on the passage's own words.

courtesy? ──yes──> fixed reply
    │no
search ──failed──> "can't reach our records"
    │
near? ──no──> refusal
    │yes
model's clauses, one by one ──all pass──> spoken as they come
    │one fails, or the model does
the passage's best sentence
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from pipelines.agents.definition import Agent
from pipelines.answering.events import AnswerLimits
from pipelines.answering.grounded.evidence import Evidence, find_evidence
from pipelines.answering.grounded.guard import quantities, rejection
from pipelines.answering.grounded.prompts import answer_prompt
from pipelines.errors import EngineError
from pipelines.language.en.courtesy import courtesy
from pipelines.language.en.facts import FactKind, fact_kind
from pipelines.language.en.questions import normalise_question, with_context
from pipelines.language.en.terms import coverage
from pipelines.ports import (
    AnswerClause,
    AnswerEvent,
    AnswerFinished,
    ChatMessage,
    Clause,
    GenerationRequest,
    Grounding,
    LanguageModel,
    PassagesFound,
    RetrievalQuery,
    Retriever,
)

UNREACHABLE = "I'm sorry, I can't reach our records just now. Please try again in a moment."
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s*$")
# Minimum share of the best sentence's words that the spoken answer must contain. The rest is a matter of style.
_MIN_TOLD = 0.3
# A retriever enforces its own budget. This margin covers one that cannot, such as a handle to a dead replica.
_LATE_MS = 100
_NO_MORE = Clause("", is_last=True)


@dataclass(slots=True)
class _Draft:
    """The model's answer so far.

    Attributes:
        spoken: words that have been sent to the caller.
        held: words that passed the check but are held back until the answer has stated the fact.
        rejected: why the model's answer was abandoned; "" while it is still good.
    """

    spoken: str = ""
    held: str = ""
    sentences: int = 0
    rejected: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


async def answer(
    question: str,
    history: Sequence[ChatMessage],
    *,
    retriever: Retriever,
    language_model: LanguageModel,
    agent: Agent,
    limits: AnswerLimits,
) -> AsyncGenerator[AnswerEvent, None]:
    """Stream the answer to one question of a caller.

    Yields at most one `PassagesFound`, then clauses (exactly one with `is_last`), then one `AnswerFinished`. Closing
    the iterator cancels the search or the generation in flight. Engine failures become spoken words, never exceptions.

    Args:
        question: the caller's words, as recognised.
        history: earlier messages of the call, oldest first; used to read follow-up questions.
        retriever: searched inside `agent.tenant` only.
        language_model: asked at temperature 0.
        agent: who answers, and how close a passage must be.
        limits: bounds of the answer.
    """
    if (reply := courtesy(question)) is not None:
        for courteous in _whole(reply.value, Grounding.COURTESY):
            yield courteous
        return
    search_text = with_context(normalise_question(question), history)
    started = time.perf_counter()
    try:
        query = RetrievalQuery(
            agent.tenant, search_text, limits.passages, limits.retrieval_budget_ms, alias=agent.knowledge.alias
        )
        async with asyncio.timeout((limits.retrieval_budget_ms + _LATE_MS) / 1000):
            passages = await retriever.search(query)
    except (EngineError, TimeoutError) as error:
        for honest in _whole(UNREACHABLE, Grounding.UNREACHABLE, rejected=str(error) or "late"):
            yield honest
        return
    evidence = find_evidence(search_text, passages, agent)
    elapsed_ms = (time.perf_counter() - started) * 1000
    yield PassagesFound(tuple(passages), evidence.passage if evidence else None, elapsed_ms)
    if evidence is None:
        for refused in _whole(agent.refusal, Grounding.REFUSED):
            yield refused
        return
    async with aclosing(_grounded(evidence, language_model, limits)) as events:
        async for event in events:
            yield event


async def _grounded(
    evidence: Evidence, model: LanguageModel, limits: AnswerLimits
) -> AsyncGenerator[AnswerEvent, None]:
    """Speak the model's checked clauses, or the passage's own sentence when they fail or omit the fact."""
    draft = _Draft()
    async with aclosing(_checked_clauses(evidence, model, limits, draft)) as clauses:
        async for text in clauses:
            yield AnswerClause(text)
    is_told = _says_the_fact(draft.spoken, evidence)
    yield AnswerClause("" if is_told else _completion(draft.spoken, evidence.best_sentence), is_last=True)
    grounded = Grounding.MODEL if is_told else Grounding.MIXED if draft.spoken else Grounding.PASSAGE
    reason = draft.rejected or ("" if is_told else "incomplete")
    yield AnswerFinished(grounded, reason, draft.prompt_tokens, draft.completion_tokens)


async def _checked_clauses(
    evidence: Evidence, model: LanguageModel, limits: AnswerLimits, draft: _Draft
) -> AsyncGenerator[str, None]:
    """Yield the model's clauses as long as they pass. Records in `draft` what was spoken and why it stopped."""
    request = GenerationRequest(uuid.uuid4().hex, answer_prompt(evidence), max_tokens=limits.max_tokens)
    try:
        async with aclosing(model.generate(request)) as clauses:  # type: ignore[type-var]
            while draft.sentences < limits.max_sentences:
                wait_s = limits.first_clause_budget_ms / 1000 if not draft.spoken else None
                async with asyncio.timeout(wait_s):
                    clause = await anext(clauses, _NO_MORE)
                if text := _accepted(clause, evidence, draft):
                    yield text
                if clause.is_last or draft.rejected:
                    return
    except EngineError as error:
        draft.rejected = str(error)
    except TimeoutError:
        draft.rejected = "late"


def _accepted(clause: Clause, evidence: Evidence, draft: _Draft) -> str:
    """Add a clause to the draft and return the words that may be spoken now, or "" when there are none.

    Until the answer has stated the fact, only the beginning of the passage's own sentence is released. Spoken words
    cannot be taken back, and a caller should not hear half a remark followed by the real answer.
    """
    draft.completion_tokens = clause.tokens or draft.completion_tokens
    draft.prompt_tokens = clause.prompt_tokens or draft.prompt_tokens
    if clause.text.strip():
        draft.rejected = rejection(clause.text, evidence.question, evidence.passage.title, evidence.sentences)
    if draft.rejected or not clause.text.strip():
        return ""
    draft.held += clause.text
    draft.sentences += bool(_SENTENCE_END.search(clause.text))
    whole = draft.spoken + draft.held
    if not (_says_the_fact(whole, evidence) or _begins(whole, evidence.best_sentence)):
        return ""
    released, draft.held, draft.spoken = draft.held, "", whole
    return released


def _begins(said: str, sentence: str) -> bool:
    return sentence.lower().startswith(said.strip().lower())


def _says_the_fact(spoken: str, evidence: Evidence) -> bool:
    """Return whether the spoken words convey the best sentence: its quantities, and enough of its words.

    "No, I'm not." agrees with "The Duluth store is closed on Sunday." and still tells the caller nothing. For a
    question about money, stating the amounts is enough.
    """
    best = evidence.best_sentence
    # The caller knows the numbers in the question ("order 1042"); only what is new to them must be said.
    news = quantities(best) - quantities(evidence.question)
    if fact_kind(evidence.question) is FactKind.MONEY:
        news = frozenset(item for item in news if item[1] in {"$", "percent"}) or news
    return news <= quantities(spoken) and coverage(best, spoken) >= _MIN_TOLD


def _completion(spoken: str, sentence: str) -> str:
    """Return what remains to be spoken so that the caller hears all of `sentence`, whose beginning may be out."""
    begun = spoken.strip()
    if _begins(begun, sentence):
        return sentence[len(begun) :]
    return f" {sentence}" if _SENTENCE_END.search(begun) else f". {sentence}"


def _whole(text: str, grounded: Grounding, *, rejected: str = "") -> tuple[AnswerClause, AnswerFinished]:
    return AnswerClause(text, is_last=True), AnswerFinished(grounded, rejected)
