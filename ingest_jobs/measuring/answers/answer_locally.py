"""Answers questions from the index with engines in this process, reading and writing JSON lines.

    python -m ingest_jobs.measuring.answers.answer_locally
        --milvus URI --alias NAME --encoder-dir DIR --agent FILE --limits JSON [--language-model JSON]

Without --language-model every answer is the passage's own best sentence, which shows what a model would add.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TextIO

from cluster.config.agents import read_agent
from cluster.config.environment import process_environment, secret
from cluster.config.parts import PoolPart
from deployments.engines.milvus import MilvusSettings
from pipelines.agents.definition import Agent
from pipelines.answering.events import AnswerLimits
from pipelines.answering.grounded.answerer import answer
from pipelines.ports import AnswerClause, AnswerFinished, Clause, GenerationRequest, LanguageModel, Retriever

# An evaluation judges answers and not speed, so a slow machine must not lead to "can't reach our records".
_PATIENCE = {"retrieval_budget_ms": 10_000, "first_clause_budget_ms": 30_000}


class NoLanguageModel:
    """Takes the place of a language model but says nothing."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Clause, None]:  # noqa: ARG002
        """End at once with an empty answer, so that the passage is spoken."""
        yield Clause("", is_last=True)


async def serve(
    questions: TextIO,
    answers: TextIO,
    *,
    retriever: Retriever,
    language_model: LanguageModel,
    agent: Agent,
    limits: AnswerLimits,
) -> None:
    """Answer every line of `questions`."""
    while line := await asyncio.to_thread(questions.readline):
        said, grounded, reason = "", "", ""
        events = answer(
            json.loads(line)["question"],
            [],
            retriever=retriever,
            language_model=language_model,
            agent=agent,
            limits=limits,
        )
        async for event in events:
            if isinstance(event, AnswerClause):
                said += event.text
            elif isinstance(event, AnswerFinished):
                grounded, reason = str(event.grounded), event.rejected
        answers.write(json.dumps({"answer": said, "grounded": grounded, "rejected": reason}) + "\n")
        answers.flush()


async def _run(parsed: argparse.Namespace, answers: TextIO) -> None:
    from deployments.engines.embedding.embedder import SentenceEncoder
    from deployments.engines.milvus.retriever import MilvusRetriever

    model: LanguageModel = NoLanguageModel()
    if parsed.language_model:
        part = PoolPart.model_validate_json(parsed.language_model)
        model = part.spec.open(part.settings, part.site(""))
    token = secret(process_environment(), parsed.token_env, needed_by="--token-env")
    encoder = SentenceEncoder(parsed.encoder_dir, threads=1)
    retriever = MilvusRetriever(parsed.milvus, parsed.alias, encoder, token=token, settings=MilvusSettings())
    agent, limits = read_agent(parsed.agent), AnswerLimits(**{**json.loads(parsed.limits), **_PATIENCE})
    try:
        await serve(sys.stdin, answers, retriever=retriever, language_model=model, agent=agent, limits=limits)
    finally:
        await retriever.aclose()


def main() -> None:
    """Run the command. Standard output is first redirected to standard error, because libraries print to it."""
    parser = argparse.ArgumentParser(
        prog="python -m ingest_jobs.measuring.answers.answer_locally", description="Answer from the index."
    )
    parser.add_argument("--milvus", required=True, help="URI of the Milvus server")
    parser.add_argument("--alias", default="knowledge")
    parser.add_argument("--encoder-dir", type=Path, required=True)
    parser.add_argument("--language-model", default="", help="the language model's pool, a `PoolPart` as JSON")
    parser.add_argument("--agent", type=Path, required=True, help="the agent's file")
    parser.add_argument("--limits", required=True, help="the section `answering` as JSON")
    parser.add_argument("--token-env", default="", help="name of the variable that holds the Milvus token")
    answers, sys.stdout = sys.stdout, sys.stderr
    asyncio.run(_run(parser.parse_args(), answers))


if __name__ == "__main__":
    main()
