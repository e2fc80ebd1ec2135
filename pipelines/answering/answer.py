"""The answerer a session runs on. It takes an order from the core and yields answer events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from pipelines.agents.definition import Agent
from pipelines.answering.events import AnswerLimits
from pipelines.answering.grounded.answerer import answer
from pipelines.ports import AnswerClause, AnswerEvent, AnswerFinished, ChatMessage, Grounding, LanguageModel, Retriever
from pipelines.session.effects import StartAnswer


@dataclass(frozen=True, slots=True)
class GroundedAnswerer:
    """Implements `pipelines.call.runner.Answerer` over the retriever and language model ports."""

    retriever: Retriever
    language_model: LanguageModel
    agent: Agent
    limits: AnswerLimits

    async def answer(self, order: StartAnswer) -> AsyncIterator[AnswerEvent]:
        """Stream the answer to `order.question`, or the greeting when the client wants an opening."""
        if not order.question.strip():
            yield AnswerClause(self.agent.greeting, is_last=True)
            yield AnswerFinished(Grounding.COURTESY)
            return
        max_tokens = min(order.max_output_tokens or self.limits.max_tokens, self.limits.max_tokens)
        events = answer(
            order.question,
            [ChatMessage(str(line.role), line.text) for line in order.history],
            retriever=self.retriever,
            language_model=self.language_model,
            agent=self.agent,
            limits=replace(self.limits, max_tokens=max_tokens),
        )
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()
