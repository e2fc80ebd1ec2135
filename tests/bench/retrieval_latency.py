"""Latency of retrieval at a given size on milvus-lite, by index and by way of reading (docs/retrieval.md).

    python -m tests.bench.retrieval_latency [--rows 20000] [--only "fast reads"] [--cache CACHE]

Texts are overlapping pieces of package documentation, vectors the real encoder's (minutes, once: they are kept in the
cache folder), questions those of the evaluation set. Each variant is a server of its own with one collection. Bars are
on stderr, the table on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cluster.bench.figures import spread
from deployments.engines.milvus import MilvusSettings, schema, versions
from deployments.engines.milvus.index_plan import IndexPlan
from deployments.engines.milvus.retriever import MilvusRetriever, RetrievalReport, Stage
from deployments.engines.milvus.schema import IndexedPassage, row_of
from deployments.engines.milvus.versions import Building, VersionStore
from ingest_jobs.measuring.retrieval import docstrings
from ingest_jobs.measuring.retrieval.evaluation_set import make_evaluation_set
from ingest_jobs.measuring.retrieval.questions import load_retrieval_questions
from pipelines.ports import RetrievalQuery
from tests.bench.ingest_bench import Screen, model_dir
from tests.contract.milvus_server import _wait_for_port, free_port

SAMPLE = Path(__file__).resolve().parents[2] / "ingest_jobs" / "sample_data"
MORE_PACKAGES = ("transformers", "sympy", "vllm", "openai", "huggingface_hub", "botocore", "hypothesis", "boto3")
PIECE_WORDS, STEP_WORDS, MIN_WORDS = 60, 35, 25
WARM_UP = 10
EMBED_BATCH, WRITE_BATCH = 512, 500
TENANT = "default"
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Variant:
    """One way of serving: milvus-lite's own reads or ours, and the dense index with its metric."""

    name: str
    is_stock: bool
    plan: IndexPlan
    metric: str = "IP"


VARIANTS = (
    Variant("stock, FLAT COSINE (before)", True, IndexPlan("FLAT"), "COSINE"),
    Variant("stock, FLAT IP", True, IndexPlan("FLAT")),
    Variant("stock, HNSW", True, IndexPlan("HNSW", {"M": 16, "efConstruction": 200})),
    Variant("fast reads, FLAT COSINE", False, IndexPlan("FLAT"), "COSINE"),
    Variant("fast reads, FLAT IP", False, IndexPlan("FLAT")),
    Variant("fast reads, HNSW (now)", False, IndexPlan("HNSW", {"M": 16, "efConstruction": 200})),
)


class KnownVectors:
    """Gives vectors that were computed before: what is measured is the search."""

    def __init__(self, texts: list[str], vectors: Vectors) -> None:
        self._vectors = dict(zip(texts, vectors, strict=True))

    def encode(self, texts: list[str]) -> Vectors:
        return np.stack([self._vectors[text] for text in texts])


def pieces(rows: int) -> list[tuple[str, str]]:
    """Return (title, text) of overlapping pieces of documentation."""
    docstrings.MIN_WORDS = MIN_WORDS
    packages = (*docstrings.PACKAGES, *MORE_PACKAGES)
    objects = [each for package in packages for each in docstrings._objects_of(package)]
    found: dict[str, str] = {}
    for each in sorted(objects, key=lambda each: each.key + each.summary):
        words = f"{each.summary}. {each.body}".split()
        for start in range(0, max(1, len(words) - 15), STEP_WORDS):
            text = " ".join(words[start : start + PIECE_WORDS])
            found.setdefault(text, f"{each.package}: {each.spoken_name}")
    return [(title, text) for text, title in list(found.items())[:rows]]


def embedded(encoder_dir: Path, texts: list[str], screen: Screen, name: str) -> Vectors:
    """Return the real encoder's vectors."""
    from deployments.engines.embedding.embedder import SentenceEncoder

    encoder, found = SentenceEncoder(encoder_dir, 2), []
    with screen.step(name, total=len(texts)) as step:
        for start in range(0, len(texts), EMBED_BATCH):
            found.append(encoder.encode(texts[start : start + EMBED_BATCH]))
            step.show(completed=start)
    return np.concatenate(found)


def prepared(
    cache: Path, encoder_dir: Path, rows: int, screen: Screen
) -> tuple[list[tuple[str, str]], Vectors, list[str], Vectors]:
    """Return the pieces and the questions with their vectors, from the cache or made now."""
    cache.mkdir(parents=True, exist_ok=True)
    texts_file, vectors_file, asked_file = cache / f"{rows}.json", cache / f"{rows}.npy", cache / "questions.npy"
    if not vectors_file.exists():
        made = pieces(rows)
        vectors = embedded(encoder_dir, [f"{title}. {text}" for title, text in made], screen, "embedding, once")
        texts_file.write_text(json.dumps(made), "utf-8")
        np.save(vectors_file, vectors)
    with tempfile.TemporaryDirectory() as folder:
        make_evaluation_set(Path(folder), SAMPLE)
        questions = [q.question for q in load_retrieval_questions(Path(folder) / "questions.jsonl")]
    if not asked_file.exists() or len(np.load(asked_file)) != len(questions):
        np.save(asked_file, embedded(encoder_dir, questions, screen, "embedding the questions"))
    found = [(title, text) for title, text in json.loads(texts_file.read_text("utf-8"))]
    return found, np.load(vectors_file), questions, np.load(asked_file)


@contextmanager
def server(variant: Variant) -> Iterator[str]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(sys.executable).parent / "milvus-lite"
        stock = [str(binary), "server", "--data-dir", folder, "--host", "127.0.0.1", "--port", str(port)]
        ours = [sys.executable, "-m", "cluster.services.milvus_server", "--data-dir", folder, "--port", str(port)]
        command = stock if variant.is_stock else ours
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _wait_for_port(port, process)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


def fill(uri: str, variant: Variant, rows: list[tuple[str, str]], vectors: Vectors, screen: Screen) -> None:
    for module, name, value in (
        (versions, "index_plan", lambda *_args, **_kwargs: variant.plan),
        (schema, "METRIC", variant.metric),
    ):
        setattr(module, name, value)
    store = VersionStore(uri, "bench")
    name = store.begin(Building(TENANT, "bench", "bench", 0.0), vectors.shape[1])
    passages = [
        IndexedPassage(f"{n:032x}", TENANT, title, text, f"{n}.md", "2026-01-01", vector, np.tile(vector, (4, 1)))
        for n, ((title, text), vector) in enumerate(zip(rows, vectors, strict=True))
    ]
    with screen.step(f"{variant.name}: writing", total=len(passages)) as step:
        for start in range(0, len(passages), WRITE_BATCH):
            store.rows.write(name, [row_of(each) for each in passages[start : start + WRITE_BATCH]], WRITE_BATCH)
            step.show(completed=start)
    with screen.step(f"{variant.name}: building the index"):
        store.seal(name, TENANT)
    store.switch(name)
    store.close()


async def measure(uri: str, stage: Stage, encoder: KnownVectors, questions: list[str]) -> list[RetrievalReport]:
    retriever = MilvusRetriever(uri, "bench", encoder, settings=MilvusSettings(), stage=stage)
    asked = [*questions[:WARM_UP], *questions]
    reports = [await retriever.report(RetrievalQuery(TENANT, text, 6, 60_000)) for text in asked]
    await retriever.aclose()
    return reports[WARM_UP:]


def neighbours_kept(reports: list[RetrievalReport], vectors: Vectors, asked: Vectors) -> float:
    """Return the share of the exact six nearest rows that the searches by meaning found."""
    exact = np.argsort(-(asked @ vectors.T), axis=1)[:, :6]
    found = [{int(p.source.removesuffix(".md")) for p in report.passages} for report in reports]
    return float(np.mean([len(set(e.tolist()) & f) / len(f) for e, f in zip(exact, found, strict=True) if f]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder-dir", type=Path, help="default: the configured one, from the catalog")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "voxray-retrieval-latency")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--only", default="", help="variants whose name holds this")
    parsed = parser.parse_args()
    with Screen() as screen:
        lines = measured(parsed, screen)
    sys.stdout.write("\n".join(lines) + "\n")


def measured(parsed: argparse.Namespace, screen: Screen) -> list[str]:
    """Measure the wanted variants; return the table."""
    place = parsed.encoder_dir or model_dir()
    rows, vectors, questions, asked = prepared(parsed.cache, place, parsed.rows, screen)
    encoder = KnownVectors(questions, asked)
    lines = ["| variant | stage | p50 / p95 / p99 ms | nearest rows kept |", "|---|---|---|---|"]
    for variant in (v for v in VARIANTS if parsed.only in v.name):
        with server(variant) as uri:
            fill(uri, variant, rows, vectors, screen)
            for stage in ("meaning", "words", "hybrid"):
                with screen.step(f"{variant.name}: asking, {stage}"):
                    reports = asyncio.run(measure(uri, stage, encoder, questions))  # type: ignore[arg-type]
                times = spread([report.timing.search_ms for report in reports])
                assert times is not None
                kept = f"{neighbours_kept(reports, vectors, asked):.3f}" if stage == "meaning" else ""
                lines.append(f"| {variant.name} | {stage} | {times.p50} / {times.p95} / {times.p99} | {kept} |")
    return lines


if __name__ == "__main__":
    main()
