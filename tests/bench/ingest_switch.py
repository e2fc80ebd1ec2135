"""Retrieval beside a reindex: a caller loop asks all through it. Part of ingest_figures.py."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from deployments.engines.embedding.embedder import SentenceEncoder
from deployments.engines.milvus import MilvusSettings
from deployments.engines.milvus.retriever import MilvusRetriever, RetrievalReport
from pipelines.ports import RetrievalQuery
from tests.bench.ingest_bench import ALIAS, Bench, model_dir
from tests.bench.ingest_corpus import article, article_path, write_corpus

QUESTION_EVERY_S = 0.2
WARM_UP = 20
AROUND_SWITCH_S = 10.0
_BUDGET_MS = 5_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One question's answer: when it was asked, how long it took (s), without the embedding and with it."""

    at: float
    search_s: float
    whole_s: float
    collection: str
    titles: tuple[str, ...]


@dataclass(slots=True)
class Caller:
    """Asks five questions a second until it is stopped. Each is embedded: none is asked twice."""

    uri: str
    questions: list[str]
    answers: list[Asked] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    late_s: float = 0.0
    stopped: threading.Event = field(default_factory=threading.Event)

    async def ask(self) -> None:
        retriever = MilvusRetriever(self.uri, ALIAS, SentenceEncoder(model_dir(), 1), settings=MilvusSettings())
        for question in self.questions[:WARM_UP]:
            await retriever.search(RetrievalQuery("default", question, 5, 10_000))
        number, due = WARM_UP, time.perf_counter()
        while not self.stopped.is_set():
            due += QUESTION_EVERY_S
            await self._one(retriever, f"{self.questions[number % len(self.questions)]} ({number})")
            number += 1
            left = due - time.perf_counter()
            self.late_s = max(self.late_s, -left)
            await asyncio.sleep(max(0.0, left))
        await retriever.aclose()

    async def _one(self, retriever: MilvusRetriever, question: str) -> None:
        started = time.perf_counter()
        try:
            report: RetrievalReport = await retriever.report(RetrievalQuery("default", question, 5, _BUDGET_MS))
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")
            return
        whole_s, titles = time.perf_counter() - started, tuple(p.title for p in report.passages)
        self.answers.append(Asked(started, report.timing.search_ms / 1e3, whole_s, report.collection, titles))


def switch(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Ask five questions a second while a changed corpus is reindexed in full, with the job's own defaults."""
    write_corpus(bench.data, options.documents)
    bench.run("first version", "--in-process")
    questions = [article(number).splitlines()[4].split(". ")[0] for number in range(options.documents)]
    caller = Caller(bench.uri, questions)
    thread = threading.Thread(target=lambda: asyncio.run(caller.ask()))
    thread.start()
    try:
        _wait(bench, options.before_s, "asking before")
        for number in range(options.documents):  # another text of every document: an answer shows its version
            article_path(bench.data, number).write_text(article(number).replace("Article", "Renewed article"))
        began = time.perf_counter()
        report = bench.run("reindex", "--force", *(("--in-process",) if options.only == "in_process" else ()))
        ended = time.perf_counter()
        _wait(bench, AROUND_SWITCH_S + 2, "asking after")
    finally:
        caller.stopped.set()
        thread.join()
    return {
        **judged(caller.answers, began, ended),
        "errors": caller.errors,
        "latest_question_s": round(caller.late_s, 3),
        "report": {key: report[key] for key in ("embedded", "elapsed_s", "stages_s")},
    }


def judged(answers: list[Asked], began: float, ended: float) -> dict[str, Any]:
    """Sort the answers by what the job did meanwhile; count those that are empty or mix versions."""
    is_new = [["Renewed" in title for title in each.titles] for each in answers]
    moved = next((each.at for each, news in zip(answers, is_new, strict=True) if any(news)), ended)
    spans = {
        "before": [each for each in answers if each.at < began],
        "reindex, start to end": [each for each in answers if began <= each.at < ended],
        "10 s before and after the switch": [each for each in answers if abs(each.at - moved) <= AROUND_SWITCH_S],
        "after": [each for each in answers if each.at > max(ended, moved)],
    }
    found = {name: _span(values) for name, values in spans.items() if len(values) > 2}
    return {
        "questions": len(answers),
        "empty": sum(not each.titles for each in answers),
        "mixed": sum(any(news) and not all(news) for news in is_new),
        "of_the_new_version": sum(any(news) for news in is_new),
        "search_ms": found,
        "p99_of_before": {
            name: round(span["p99"] / found["before"]["p99"], 2) for name, span in found.items() if name != "before"
        },
    }


def _span(answers: list[Asked]) -> dict[str, float]:
    cuts = statistics.quantiles([each.search_s * 1e3 for each in answers], n=100)
    whole = statistics.quantiles([each.whole_s * 1e3 for each in answers], n=100)
    figures = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "p99_with_embedding": whole[98]}
    return {"n": len(answers), **{name: round(value, 1) for name, value in figures.items()}}


def _wait(bench: Bench, wait_s: float, name: str) -> None:
    with bench.screen.step(name, total=wait_s) as step:
        ends = time.monotonic() + wait_s
        while (left := ends - time.monotonic()) > 0:
            step.show(completed=wait_s - left)
            time.sleep(min(0.5, left))
