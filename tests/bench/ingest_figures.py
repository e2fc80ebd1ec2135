"""The figures of docs/ingest.md: throughput, incremental runs, memory, and retrieval beside a reindex.

    python -m tests.bench.ingest_figures throughput  [--documents 600]
    python -m tests.bench.ingest_figures incremental [--documents 5000] [--changed 50]
    python -m tests.bench.ingest_figures memory      [--sizes 1000,50000]   (an encoder without a model)
    python -m tests.bench.ingest_figures switch      [--documents 400]

Each starts servers of its own, shows bars on stderr, and prints one JSON object. `--out FILE` keeps it too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from deployments.engines.embedding.embedder import SentenceEncoder
from ingest_jobs.knowledge.quiet import quiet_libraries
from ingest_jobs.knowledge.read.dataset import load_dataset
from ingest_jobs.knowledge.read.sources import all_units
from ingest_jobs.knowledge.run.pipeline import JobPlan, ReadUnits
from ingest_jobs.knowledge.store.rows import CHUNK, Row, embed_rows
from tests.bench.ingest_bench import Bench, Screen, model_dir
from tests.bench.ingest_corpus import article, article_path, write_corpus
from tests.bench.ingest_switch import switch
from tests.contract.milvus_server import milvus_server

CORES = 2
SAMPLE_EVERY_S = 2.0
Figures = dict[str, Any]
# Documents of one passage of two sentences: memory is a matter of how many there are.
SHORT = {"sections": 1, "length": 2}


def throughput(bench: Bench, options: argparse.Namespace) -> Figures:
    """Compare the job with a loop that only embeds the same chunks.

    Half of the loop runs before the jobs and half after them, so that a machine that becomes slower or faster meanwhile
    does not speak for one side.
    """
    # Nothing gives CPU away to calls here: the loop does not either.
    described = f"placement: {{niceness: 0}}\nembedding: {{threads: {options.threads}, workers: {options.workers}}}\n"
    bench.describe(described)
    write_corpus(bench.data, options.documents, length=options.length)
    rows = _chunk_rows(bench.data)
    half = len(rows) // 2
    bare_s = _embed_barely(bench, rows[:half], "embedding only, first half")
    reports = {}
    rates = {"in_process": SteadyRate(), "ray": SteadyRate()}
    if options.only in {"", "in_process"}:
        # It has one encoder for all cores.
        bench.describe(f"placement: {{niceness: 0}}\nembedding: {{threads: {CORES}}}\n")
        watch = rates["in_process"].take
        reports["in_process"] = bench.run("job in one process", "--in-process", "--force", watch=watch)
    if options.only in {"", "ray"}:
        bench.describe(described)
        reports["ray"] = bench.run("job with Ray", "--force", watch=rates["ray"].take)
    bare_s += _embed_barely(bench, rows[half:], "embedding only, second half")
    bare = len(rows) / bare_s
    return {
        "bare_chunks_a_s": round(bare, 1),
        **{
            name: {
                "chunks": report["embedded"],
                "chunks_a_s": round(rate := rates[name].chunks_a_s(), 1),
                "of_bare": round(rate / bare, 3),
                "job_s": report["elapsed_s"],
                "of_bare_with_start": round(report["embedded"] / report["elapsed_s"] / bare, 3),
            }
            for name, report in reports.items()
        },
    }


class SteadyRate:
    """Chunks written a second while all stages are busy: between a fifth and nine tenths of them.

    From the first written batch to the last would be too kind: what is being embedded at the first one counts too.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def take(self, _: subprocess.Popen[bytes], progress: dict[str, Any]) -> None:
        """Note how many chunks have been written, whenever that is another number."""
        written = int(progress.get("embedded", 0))
        if written and (not self._seen or written != self._seen[-1][1]):
            self._seen.append((time.perf_counter(), written))

    def chunks_a_s(self) -> float:
        """Return the rate; 0.0 for a job that was too short to have one."""
        last = self._seen[-1][1] if self._seen else 0
        steady = [each for each in self._seen if 0.2 * last <= each[1] <= 0.9 * last]
        if len(steady) < 2:
            return 0.0
        (began, first), (ended, until) = steady[0], steady[-1]
        return (until - first) / (ended - began)


def _chunk_rows(data: Path) -> list[Row]:
    dataset = load_dataset(data)
    reader = ReadUnits(JobPlan(dataset, "default", "", "bench", model_dir()))
    return [row for unit in all_units(dataset) for row in reader.rows(unit) if row["kind"] == CHUNK]


def _embed_barely(bench: Bench, rows: list[Row], name: str) -> float:
    """Return the seconds that a plain loop on all cores takes, with batches as the job has them.

    One process of one thread for each core: two threads in one process wait for each other wherever another program
    takes a core for a moment, and the comparison would be too kind.
    """
    size = load_dataset(bench.data).embedding.batch_rows
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    with get_context("spawn").Pool(CORES, _load_encoder) as pool:
        # Each process has loaded and warmed its encoder when it has done one of these.
        pool.map(_embed_batch, [rows[:1]] * 2 * CORES, chunksize=1)
        with bench.screen.step(name, total=len(rows)) as step:
            started, done = time.perf_counter(), 0
            for count in pool.imap_unordered(_embed_batch, batches):
                done += count
                step.show(completed=done)
            took_s = time.perf_counter() - started
        pool.close()
        pool.join()
    return took_s


def _load_encoder() -> None:
    # Linux shares the cores between sessions first; each of Ray's workers is weighed against the same others.
    os.setsid()
    quiet_libraries()
    _encoders.append(SentenceEncoder(model_dir(), 1))
    _encoders[0].warm_up()


def _embed_batch(rows: list[Row]) -> int:
    return len(embed_rows(rows, _encoders[0].encode))


_encoders: list[SentenceEncoder] = []


def incremental(bench: Bench, options: argparse.Namespace) -> Figures:
    """Compare a full run with one after some documents have changed, and with one after none has."""
    bench.describe("placement: {niceness: 0}\nembedding: {threads: 1}\n")
    shape = {"length": options.length}
    write_corpus(bench.data, options.documents, **shape)
    full = bench.run("full run", "--in-process")
    for number in range(0, options.documents, max(1, options.documents // options.changed)):
        article_path(bench.data, number).write_text(article(number, seed=1, **shape))
    started = time.perf_counter()
    edit = bench.run("incremental run", "--in-process")
    wall_s = time.perf_counter() - started
    unchanged = bench.run("run without changes", "--in-process")
    return {
        "documents": full["documents"],
        "chunks": full["chunks"],
        "full_s": full["elapsed_s"],
        "full_stages_s": full["stages_s"],
        "changed": edit["changed"],
        "embedded": edit["embedded"],
        "incremental_s": edit["elapsed_s"],
        "incremental_stages_s": edit["stages_s"],
        "incremental_with_interpreter_s": round(wall_s, 2),
        "part_of_full": round(edit["elapsed_s"] / full["elapsed_s"], 4),
        "unchanged_s": unchanged["elapsed_s"],
    }


def memory(bench: Bench, options: argparse.Namespace) -> Figures:
    """Measure the memory of the driver and of each of Ray's workers over corpora of different sizes."""
    found: Figures = {}
    for size in (int(text) for text in options.sizes.split(",")):
        shutil.rmtree(bench.data)
        bench.data.mkdir()
        # No probes: the corpora have nothing in common, and an encoder without a model cannot tell similar from not.
        bench.describe("placement: {niceness: 0}\nembedding: {engine: scripted}\nquality: {probes: 0}\n")
        write_corpus(bench.data, size, **SHORT)
        samples = MemorySamples()
        report = bench.run(f"{size:,} documents", "--force", watch=samples.take)
        found[str(size)] = {"chunks": report["chunks"], "job_s": report["elapsed_s"], "mb": samples.summary()}
    return found


class MemorySamples:
    """Memory in MB over a job's time: `own` is unshared (USS), `resident` counts Ray's shared blocks too (RSS)."""

    def __init__(self) -> None:
        self._due_s = 0.0
        self._own: dict[str, list[int]] = {}
        self._resident: dict[str, list[int]] = {}

    def take(self, job: subprocess.Popen[bytes], _: dict[str, Any]) -> None:
        """Look at the job's processes, unless that was done a moment ago."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + SAMPLE_EVERY_S
        try:
            processes = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
        except psutil.Error:
            return
        for process in processes:
            try:
                title = "driver" if process.pid == job.pid else process.cmdline()[0]
                if stage := re.search(r"driver|ReadActor|EmbedActor|WriteActor", title):
                    used = process.memory_full_info()
                    self._own.setdefault(stage[0], []).append(used.uss // 2**20)
                    self._resident.setdefault(stage[0], []).append(used.rss // 2**20)
            except (psutil.Error, IndexError):
                continue

    def summary(self) -> dict[str, Any]:
        """Return, by process, the peaks and the medians of the second and of the last quarter of its life."""
        return {
            name: {
                "own_peak": max(values),
                "resident_peak": max(self._resident[name]),
                "own_second_quarter": _median(values[len(values) // 4 : len(values) // 2]),
                "own_last_quarter": _median(values[-max(1, len(values) // 4) :]),
            }
            for name, values in self._own.items()
        }


def _median(values: list[int]) -> int:
    return sorted(values)[len(values) // 2] if values else 0


FIGURES: dict[str, tuple[Callable[[Bench, argparse.Namespace], Figures], int]] = {
    "throughput": (throughput, 600),
    "incremental": (incremental, 5000),
    "memory": (memory, 0),
    "switch": (switch, 400),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.ingest_figures", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("--documents", type=int, default=0, help="default: as above")
    parser.add_argument("--length", type=int, default=4, help="sentences in each of a document's two sections")
    parser.add_argument("--changed", type=int, default=50)
    parser.add_argument("--sizes", default="1000,50000")
    parser.add_argument("--only", default="", choices=("", "ray", "in_process"), help="one way of running")
    parser.add_argument("--before-s", type=float, default=60.0, help="how long is asked before the reindex")
    parser.add_argument("--threads", type=int, default=1, help="of each embedding worker")
    parser.add_argument("--workers", type=int, default=CORES, help="of the embedding stage")
    parser.add_argument("--out", type=Path, help="file for the JSON")
    options = parser.parse_args()
    quiet_libraries()
    figure, documents = FIGURES[options.figure]
    options.documents = options.documents or documents
    load = [round(each, 2) for each in os.getloadavg()]
    with (
        tempfile.TemporaryDirectory(prefix="voxray-bench-") as folder,
        milvus_server(Path(folder) / "milvus") as uri,
        Screen() as screen,
    ):
        found = figure(Bench(Path(folder), uri, screen), options)
    shown = json.dumps({"figure": options.figure, "load_before": load, **found}, indent=1)
    if options.out:
        options.out.write_text(shown + "\n")
    print(shown)  # noqa: T201 - the result of this program


if __name__ == "__main__":
    main()
