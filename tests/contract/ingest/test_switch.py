"""Questions asked all through a reindex: each is answered, by one version."""

from __future__ import annotations

import asyncio

import pytest

from deployments.engines.milvus import MilvusSettings
from deployments.engines.milvus.retriever import MilvusRetriever
from deployments.engines.scripted.encoder import ScriptedEncoder
from pipelines.ports import RetrievalQuery
from tests.contract.ingest.workshop import Workshop

pytestmark = pytest.mark.contract

DOCUMENTS = 150


async def ask_until(done: asyncio.Event, workshop: Workshop) -> list[list[str]]:
    """Ask all the time, the last question after the event; return the texts of each answer."""
    retriever = MilvusRetriever(workshop.uri, workshop.alias, ScriptedEncoder(), settings=MilvusSettings())
    answers: list[list[str]] = []
    is_last = False
    try:
        while not is_last:
            is_last = done.is_set()
            question = RetrievalQuery("default", f"price of item {len(answers) % DOCUMENTS}", 5, 20_000)
            answers.append([passage.text for passage in await retriever.search(question)])
    finally:
        await retriever.aclose()
    return answers


async def test_every_question_during_a_reindex_is_answered_by_one_version(workshop: Workshop) -> None:
    workshop.write_notes(DOCUMENTS)
    workshop.run()
    workshop.write_notes(DOCUMENTS, say="weighs")
    done = asyncio.Event()
    asking = asyncio.create_task(ask_until(done, workshop))
    report = await asyncio.to_thread(workshop.run, is_forced=True)
    done.set()
    answers = await asking
    assert report.mode == "full"
    assert len(answers) > 20
    assert all(answers)
    said = [{word for text in texts for word in ("costs", "weighs") if word in text} for texts in answers]
    assert {"costs", "weighs"} not in said
    assert said[0] == {"costs"}
    assert said[-1] == {"weighs"}
