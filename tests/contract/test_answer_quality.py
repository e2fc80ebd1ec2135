"""The sample questions, answered from the sample data with the real encoder and Milvus.

The language model is left out on purpose: every sentence is then the passage's own, so this measures what the caller
hears in the worst case, when no generated word passes the grounding check. `voxray eval` measures the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.catalog.catalog import ModelCatalog
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import embedding_model
from deployments.engines.embedding.embedder import SentenceEncoder
from deployments.engines.milvus import MilvusSettings
from deployments.engines.milvus.retriever import MilvusRetriever
from ingest_jobs.knowledge.run.job import ReindexRequest
from ingest_jobs.knowledge.run.reindex import reindex_in_process
from ingest_jobs.measuring.answers.answer_locally import NoLanguageModel
from pipelines.answering.evaluation import Judged, evaluate, tally
from pipelines.answering.grounded.answerer import answer
from pipelines.answering.scoring import Verdict, load_questions
from pipelines.ports import AnswerClause
from tests.agents import AGENT, limits
from tests.contract.milvus_server import milvus_server

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]

SAMPLE = Path(__file__).resolve().parents[2] / "ingest_jobs" / "sample_data"
PATIENT = limits(retrieval_budget_ms=30_000)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, SentenceEncoder]]:
    config = VoxrayConfig()
    model_dir = ModelCatalog.load(config, process_environment()).fetch(embedding_model(config))
    encoder = SentenceEncoder(model_dir, 1)
    with milvus_server(tmp_path_factory.mktemp("milvus")) as uri:
        request = ReindexRequest(SAMPLE, uri, "sample", model_dir)
        first = reindex_in_process(request, encoder)
        again = reindex_in_process(request, encoder)
        assert first.mode == "full"
        assert again.mode == "unchanged"
        assert again.collection == first.collection
        yield uri, encoder


async def judged(indexed: tuple[str, SentenceEncoder], name: str) -> list[Judged]:
    uri, encoder = indexed
    retriever = MilvusRetriever(uri, "sample", encoder, settings=MilvusSettings())

    async def ask(question: str) -> str:
        events = answer(
            question, [], retriever=retriever, language_model=NoLanguageModel(), agent=AGENT, limits=PATIENT
        )
        return "".join([event.text async for event in events if isinstance(event, AnswerClause)])

    try:
        return await evaluate(load_questions(SAMPLE / name), ask)
    finally:
        await retriever.aclose()


@pytest.mark.parametrize(
    ("name", "least_right", "most_wrong"), [("questions.jsonl", 0.8, 0.05), ("questions_heldout.jsonl", 0.8, 0.10)]
)
async def test_sample_questions_are_answered_right(
    indexed: tuple[str, SentenceEncoder], name: str, least_right: float, most_wrong: float
) -> None:
    results = await judged(indexed, name)
    counted = tally(results)
    not_right = [(r.question.question, r.answer) for r in results if r.verdict is not Verdict.RIGHT]
    assert counted.share(Verdict.RIGHT) >= least_right, not_right
    assert counted.share(Verdict.WRONG) <= most_wrong, not_right
