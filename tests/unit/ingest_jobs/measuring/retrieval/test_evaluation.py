"""Figures, table, plot and missed questions of an evaluation whose retriever is scripted."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from deployments.engines.milvus.retriever import RetrievalReport, RetrievalTiming
from ingest_jobs.measuring.retrieval.chart import chart
from ingest_jobs.measuring.retrieval.evaluation import DEPTH, figures, find_all, missed, recall_by_kind
from ingest_jobs.measuring.retrieval.questions import RetrievalQuestion, Target
from ingest_jobs.measuring.retrieval.tables import explanation_table, latency_table, quality_table, timing_line
from pipelines.ports import Passage, RetrievalQuery, StageScores

pytestmark = pytest.mark.unit


class ScriptedRetriever:
    """Finds the documents 0, 1, 2, ... in this order, whatever is asked; the second question's vector is known."""

    def __init__(self) -> None:
        self.queries: list[RetrievalQuery] = []

    async def report(self, query: RetrievalQuery) -> RetrievalReport:
        self.queries.append(query)
        passages = [Passage("T.", f"{n}.md", f"Title {n}", 1 / (n + 1), 0.5) for n in range(query.limit)]
        timing = RetrievalTiming(8.0, 10.0 * len(self.queries), 4.0, 5.0, is_cached=len(self.queries) == 2)
        return RetrievalReport(tuple(passages), timing, "knowledge_v1")


QUESTIONS = [
    RetrievalQuestion("first", "name", "zero?", (Target("0.md"),)),
    RetrievalQuestion("second", "name", "three?", (Target("3.md"),)),
    RetrievalQuestion("third", "detail", "none?", (Target("none.md"),)),
]


async def test_evaluation_counts_ranks_and_times() -> None:
    retriever = ScriptedRetriever()
    done: list[int] = []
    found = await find_all(retriever, QUESTIONS, "alpha", lambda: done.append(1))
    result = figures("hybrid", found)
    assert result.recall == {
        1: pytest.approx(1 / 3),
        3: pytest.approx(1 / 3),
        5: pytest.approx(2 / 3),
        10: pytest.approx(2 / 3),
    }
    assert result.mrr == pytest.approx((1 + 1 / 4 + 0) / 3)
    assert result.search_ms is not None
    assert result.search_ms.p50 == 20.0
    assert result.embed_ms is not None
    assert result.embed_ms.count == 2
    assert result.rerank_ms is None
    assert recall_by_kind(found, 5) == {"name": 1.0, "detail": 0.0}
    assert missed(found, 3) == [
        {"id": "second", "question": "three?", "rank": 4},
        {"id": "third", "question": "none?", "rank": None},
    ]
    assert len(done) == len(QUESTIONS)
    assert {(q.tenant, q.limit) for q in retriever.queries} == {("alpha", DEPTH)}


async def test_plot_is_svg_with_a_bar_for_each_figure() -> None:
    found = await find_all(ScriptedRetriever(), QUESTIONS, "alpha", lambda: None)
    drawn = ET.fromstring(chart([figures("meaning", found), figures("hybrid <&>", found)]))
    bars = drawn.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 2 * (3 + 2)
    assert any(text.text == "hybrid <&>" for text in drawn.findall("{http://www.w3.org/2000/svg}text"))


async def test_tables_show_every_stage() -> None:
    found = await find_all(ScriptedRetriever(), QUESTIONS, "alpha", lambda: None)
    stages = StageScores(meaning_rank=2, meaning=0.71, rerank=0.9)
    passage = Passage("T.", "faq.md", "Returns", 0.0325, 0.713, 0.5, "2026-01-01", stages=stages)
    timing = RetrievalTiming(7.0, 12.0, 4.0, 5.0, rerank_ms=3.0, is_cached=True, is_partial=True)
    report = RetrievalReport((passage,), timing, "knowledge_v1", duplicates=2)
    screen = Console(width=200, record=True, file=None, quiet=False, force_terminal=False)
    with screen.capture() as shown:
        screen.print(quality_table([figures("hybrid", found)]), latency_table([figures("hybrid", found)]))
        screen.print(explanation_table(report), timing_line(report))
    text = shown.get()
    for part in ("recall@5", "nDCG@10", "0.667", "Returns", "faq.md", "#2  0.713", "0.900", "-"):
        assert part in text
    for part in ("known", "rerank 3.0 ms", "one search was too late", "2 duplicate(s)"):
        assert part in text
