"""The figures of docs/ingest.md: throughput, incremental runs, memory, and retrieval beside a reindex.

    python -m tests.bench.ingest_figures throughput  [--documents 1500]
    python -m tests.bench.ingest_figures incremental [--documents 5000] [--changed 50]
    python -m tests.bench.ingest_figures memory      [--sizes 1000,50000]   (an encoder without a model)
    python -m tests.bench.ingest_figures switch      [--documents 1000]

Each starts servers of its own and prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from cluster.catalog.catalog import ModelCatalog
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from deployments.engines.embedder import SentenceEncoder
from deployments.engines.milvus_retriever import MilvusRetriever
from ingest_jobs.dataset import load_dataset
from ingest_jobs.pipeline import JobPlan, ReadUnits
from ingest_jobs.reporting import REPORTS
from ingest_jobs.rows import CHUNK, embed_rows
from ingest_jobs.sources import all_units
from pipelines.ports import RetrievalQuery
from tests.bench.ingest_corpus import article, write_corpus
from tests.contract.milvus_server import milvus_server

ROOT = Path(__file__).resolve().parents[2]
CORES = 2


def model_dir() -> Path:
    config = VoxrayConfig()
    return ModelCatalog.load(config, process_environment()).fetch(config.retriever.embedding_model)


class Bench:
    """A corpus, a Milvus, and the job as a process."""

    def __init__(self, root: Path, uri: str, description: str = "") -> None:
        self.root, self.uri = root, uri
        self.data = root / "data"
        self.data.mkdir()
        (self.data / "dataset.yaml").write_text(description)

    def command(self, *more: str) -> list[str]:
        command = [sys.executable, "-m", "ingest_jobs.reindex", "--source", str(self.data), "--milvus", self.uri]
        command += ["--alias", "bench", "--model-dir", str(model_dir()), "--objects", str(self.root / "objects")]
        return [*command, *more]

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        environment = {**process_environment(), "RAY_ADDRESS": "local"}
        log = (self.root / "job.log").open("ab")
        return subprocess.Popen(self.command(*more), cwd=ROOT, env=environment, stdout=log, stderr=log)

    def run(self, *more: str) -> dict[str, Any]:
        job = self.start(*more)
        if job.wait():
            raise SystemExit((self.root / "job.log").read_text()[-3000:])
        return self.last_report()

    def last_report(self) -> dict[str, Any]:
        reports = [json.loads(path.read_text()) for path in (self.root / "objects" / REPORTS).rglob("*.json")]
        return max(reports, key=lambda report: report["started_at_s"])


def throughput(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Compare the job with a loop that only embeds the same chunks."""
    write_corpus(bench.data, options.documents)
    bare = bare_rate(bench.data)
    found: dict[str, Any] = {"bare_chunks_a_s": round(bare, 1)}
    ways = {"in_process": ("--in-process",), "ray": ()}
    for name, more in ways.items():
        if options.only and name != options.only:
            continue
        report = bench.run(*more, "--force")
        found[name] = {
            "chunks": report["embedded"],
            "chunks_a_s": report["embedded_a_s"],
            "of_bare": round(report["embedded_a_s"] / bare, 3),
            "job_s": report["elapsed_s"],
            "of_bare_with_start": round(report["embedded"] / report["elapsed_s"] / bare, 3),
        }
    return found


def bare_rate(data: Path) -> float:
    """Return the chunks a second of a plain loop on all cores, reading and cutting not counted."""
    dataset = load_dataset(data)
    reader = ReadUnits(JobPlan(dataset, "default", "", "bench", model_dir()))
    rows = [row for unit in all_units(dataset) for row in reader.rows(unit) if row["kind"] == CHUNK]
    encoder = SentenceEncoder(model_dir(), CORES)
    encoder.warm_up()
    size = dataset.embedding.batch_rows
    started = time.perf_counter()
    for start in range(0, len(rows), size):
        embed_rows(rows[start : start + size], encoder.encode)
    return len(rows) / (time.perf_counter() - started)


def incremental(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Compare a full run with one after some documents have changed."""
    write_corpus(bench.data, options.documents)
    full = bench.run("--in-process")
    for number in range(0, options.documents, max(1, options.documents // options.changed)):
        path = bench.data / f"{number // 1000:03}" / f"article{number:06}.md"
        path.write_text(article(number, seed=1))
    started = time.perf_counter()
    edit = bench.run("--in-process")
    wall_s = time.perf_counter() - started
    unchanged = bench.run("--in-process")
    return {
        "documents": full["documents"],
        "full_s": full["elapsed_s"],
        "changed": edit["changed"],
        "embedded": edit["embedded"],
        "incremental_s": edit["elapsed_s"],
        "incremental_with_interpreter_s": round(wall_s, 2),
        "part_of_full": round(edit["elapsed_s"] / full["elapsed_s"], 4),
        "unchanged_s": unchanged["elapsed_s"],
    }


def memory(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Measure the peak memory of the driver and of each of Ray's workers over corpora of different sizes."""
    found: dict[str, Any] = {}
    for size in (int(text) for text in options.sizes.split(",")):
        shutil.rmtree(bench.data)
        bench.data.mkdir()
        (bench.data / "dataset.yaml").write_text("embedding: {engine: scripted}\n")
        write_corpus(bench.data, size)
        job = bench.start("--force")
        peaks = peak_memory(job)
        if job.returncode:
            raise SystemExit((bench.root / "job.log").read_text()[-3000:])
        report = bench.last_report()
        found[str(size)] = {"peak_mb": peaks, "chunks": report["chunks"], "job_s": report["elapsed_s"]}
    return found


def peak_memory(job: subprocess.Popen[bytes]) -> dict[str, int]:
    """Return the largest unique memory (MB) of the driver and of each stage's worker while a job runs."""
    peaks: dict[str, int] = {}
    while job.poll() is None:
        try:
            processes = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
        except psutil.Error:
            break
        for process in processes:
            try:
                title = "driver" if process.pid == job.pid else process.cmdline()[0]
                stage = re.search(r"driver|ReadActor|EmbedActor|WriteActor", title)
                if stage:
                    used = process.memory_full_info().uss // 2**20
                    peaks[stage[0]] = max(peaks.get(stage[0], 0), used)
            except (psutil.Error, IndexError):
                continue
        time.sleep(1.0)
    job.wait()
    return peaks


def switch(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Ask five questions a second while a changed corpus is reindexed in full."""
    write_corpus(bench.data, options.documents)
    bench.run("--in-process")
    questions = [article(number).splitlines()[4].split(". ")[0] for number in range(0, options.documents, 7)]
    asked: list[tuple[float, float, list[str]]] = []
    errors: list[str] = []
    stopped = threading.Event()
    asker = threading.Thread(target=lambda: asyncio.run(_ask(bench.uri, questions, asked, errors, stopped)))
    asker.start()
    time.sleep(options.before_s)
    for number in range(options.documents):  # another text of every document: an answer shows its version
        path = bench.data / f"{number // 1000:03}" / f"article{number:06}.md"
        path.write_text(article(number).replace("Article", "Renewed article"))
    began = time.perf_counter()
    report = bench.run("--force", *(("--in-process",) if options.only == "in_process" else ()))
    ended = time.perf_counter()
    time.sleep(options.before_s)
    stopped.set()
    asker.join()
    return {
        **_judged(asked, began, ended),
        "errors": errors,
        "report": {k: report[k] for k in ("embedded", "elapsed_s", "stages_s")},
    }


async def _ask(uri: str, questions: list[str], asked: list[Any], errors: list[str], stopped: threading.Event) -> None:
    encoder = SentenceEncoder(model_dir(), 1)
    retriever = MilvusRetriever(uri, "bench", encoder)
    for question in questions[:20]:
        await retriever.search(RetrievalQuery("default", question, 5, 10_000))
    number = 0
    while not stopped.is_set():
        due = time.perf_counter() + 0.2
        try:
            started = time.perf_counter()
            found = await retriever.search(RetrievalQuery("default", questions[number % 20], 5, 5_000))
            asked.append((started, time.perf_counter() - started, [p.title for p in found]))
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
        number += 1
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await retriever.aclose()


def _judged(asked: list[tuple[float, float, list[str]]], began: float, ended: float) -> dict[str, Any]:
    """Sort the answers into before, during and after, and count those that are empty or mix versions."""
    is_new = [["Renewed" in title for title in titles] for _, _, titles in asked]
    first_new = next((at for (at, _, _), news in zip(asked, is_new, strict=True) if any(news)), ended)
    spans = {
        "before": [s for at, s, _ in asked if at < began],
        "building": [s for at, s, _ in asked if began <= at < first_new - 10],
        "switch (10 s around it)": [s for at, s, _ in asked if first_new - 10 <= at <= first_new + 10],
        "after": [s for at, s, _ in asked if at > first_new + 10],
    }
    return {
        "questions": len(asked),
        "empty": sum(not titles for _, _, titles in asked),
        "mixed": sum(any(news) and not all(news) for news in is_new),
        "new_answers": sum(any(news) for news in is_new),
        "ms": {name: _percentiles(values) for name, values in spans.items() if len(values) > 2},
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {
        "n": len(values),
        "p50": round(cuts[49] * 1e3, 1),
        "p95": round(cuts[94] * 1e3, 1),
        "p99": round(cuts[98] * 1e3, 1),
    }


FIGURES: dict[str, Callable[[Bench, argparse.Namespace], dict[str, Any]]] = {
    "throughput": throughput,
    "incremental": incremental,
    "memory": memory,
    "switch": switch,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.ingest_figures", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--changed", type=int, default=50)
    parser.add_argument("--sizes", default="1000,50000")
    parser.add_argument("--only", default="", choices=("", "ray", "in_process"))
    parser.add_argument("--before-s", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--niceness", type=int, default=0)
    options = parser.parse_args()
    # The loop that the job is compared with gives no CPU away either.
    rule = f"placement: {{niceness: {options.niceness}}}\n"
    rule += f"embedding: {{threads: {options.threads}, workers: {options.workers}}}\n"
    with tempfile.TemporaryDirectory(prefix="voxray-bench-") as folder, milvus_server(Path(folder) / "milvus") as uri:
        found = FIGURES[options.figure](Bench(Path(folder), uri, rule), options)
    print(json.dumps(found, indent=1))  # noqa: T201 - the result of this program


if __name__ == "__main__":
    main()
