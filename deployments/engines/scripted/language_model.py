"""A language model that gives scripted answers, clause by clause."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from deployments.engines.scripted.script import Script
from pipelines.errors import EngineError
from pipelines.language.en.clauses import ClauseSplitter
from pipelines.ports import ChatMessage, Clause, GenerationRequest


def echo_answer(messages: Sequence[ChatMessage]) -> str:
    """Answer with the last user message, as the demo's language model does."""
    spoken = next((message.content for message in reversed(messages) if message.role == "user"), "")
    return f"You said: {spoken.strip()}" if spoken.strip() else "I did not hear anything."


class ScriptedLanguageModel:
    """Streams scripted answers clause by clause.

    Args:
        answers: one for each request, in order. After that, `fallback` answers.
        fallback: makes an answer from the prompt.
        script: delay before the first clause, and failures.
        clause_delay_s: wait before each further clause.

    Attributes:
        requests: every request started.
        aborted: ids of requests whose iterator was closed before the last clause.
    """

    def __init__(
        self,
        answers: Iterable[str] = (),
        *,
        fallback: Callable[[Sequence[ChatMessage]], str] = echo_answer,
        script: Script | None = None,
        clause_delay_s: float = 0.0,
    ) -> None:
        self.answers = deque(answers)
        self.fallback = fallback
        self.script = script or Script()
        self.clause_delay_s = clause_delay_s
        self.requests: list[GenerationRequest] = []
        self.aborted: list[str] = []
        self.is_alive = True

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        self.requests.append(request)
        is_complete = False
        try:
            await self.script.act()
            answer = self.answers.popleft() if self.answers else self.fallback(request.messages)
            for index, clause in enumerate(_clauses(answer, request)):
                if index:
                    await asyncio.sleep(self.clause_delay_s)  # noqa: TID251 (the same)
                is_complete = clause.is_last
                yield clause
        except EngineError:
            is_complete = True
            raise
        finally:
            if not is_complete:
                self.aborted.append(request.request_id)

    def load_stats(self) -> dict[str, float]:
        """Nothing is cached and nothing waits."""
        return {}

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""


def _clauses(answer: str, request: GenerationRequest) -> list[Clause]:
    """Cut the answer into clauses, limited to `max_tokens` words, since a word counts as a token here."""
    words = answer.split(" ")
    splitter = ClauseSplitter()
    texts = splitter.feed(" ".join(words[: request.max_tokens])) + splitter.flush()
    prompt_tokens = sum(len(message.content.split()) for message in request.messages)
    clauses, tokens = [], 0
    for text in texts:
        tokens += len(text.split())
        clauses.append(Clause(text, False, tokens, prompt_tokens))
    clauses.append(Clause("", True, tokens, prompt_tokens))
    return clauses
