"""Searches the index with engines in this process, and measures how well the search works.

    python -m ingest_jobs.measuring.retrieval.command ask --milvus URI --encoder-dir DIR QUESTION
    python -m ingest_jobs.measuring.retrieval.command eval --encoder-dir DIR [--milvus URI | --data DIR] QUESTIONS.jsonl

`voxray retrieve` runs this in a separate process, so that the command line never loads a model.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cluster.config.environment import process_environment, secret
from cluster.programs import Program
from cluster.services.milvus_server import is_milvus_ready
from deployments.engines.embedding.embedder import SentenceEncoder
from deployments.engines.milvus import MilvusSettings
from deployments.engines.milvus.retriever import MilvusRetriever, Reranker, RetrievalReport, Stage
from ingest_jobs.knowledge.run.job import ReindexRequest
from ingest_jobs.knowledge.run.reindex import reindex_in_process
from ingest_jobs.measuring.retrieval.chart import chart
from ingest_jobs.measuring.retrieval.evaluation import Found, figures, find_all, missed, recall_by_kind
from ingest_jobs.measuring.retrieval.evaluation_set import DATA_FOLDER, DOCUMENTS, QUESTIONS_FILE, make_evaluation_set
from ingest_jobs.measuring.retrieval.questions import RetrievalQuestion, load_retrieval_questions
from ingest_jobs.measuring.retrieval.tables import explanation_table, latency_table, quality_table, timing_line
from pipelines.agents.definition import DEFAULT_TENANT
from pipelines.errors import Component, ConfigError, EngineError, VoxrayError
from pipelines.ports import FieldCondition, PassageFilter, RetrievalQuery

_START_TIMEOUT_S = 30.0
_EVALUATION_ALIAS = "evaluation"
_MISSED_AT = 5


async def ask(parsed: argparse.Namespace, out: Console) -> None:
    """Search once and print the passages."""
    encoder = SentenceEncoder(parsed.encoder_dir, parsed.threads)
    place = (parsed.milvus, parsed.alias)
    retriever = _retriever(parsed, place, encoder, parsed.stage, _reranker(parsed))
    conditions = tuple(condition_of(text) for text in parsed.where)
    only = PassageFilter(tuple(parsed.source), parsed.updated_from, parsed.updated_until, conditions)
    query = RetrievalQuery(parsed.tenant, parsed.question, parsed.limit, parsed.budget_ms, only)
    try:
        # The first search pays for connections and lazily built indexes, so the second one shows what callers get.
        with contextlib.suppress(EngineError):
            await retriever.search(RetrievalQuery(parsed.tenant, "warm up", 1, 10_000))
        report = await retriever.report(query)
    finally:
        await retriever.aclose()
    if parsed.json:
        out.print_json(json.dumps(asdict(report)))
        return
    _print_passages(report, out, is_explained=parsed.explain)


def condition_of(text: str) -> FieldCondition:
    """Parse a `--where` condition: "category=tents", "price<=100" or "brand in Acme,Fell".

    Raises:
        ConfigError: the text is not a condition.
    """
    found = re.fullmatch(r"\s*(\w+)\s*(==|=|!=|<=|>=|<|>|\sin\s)\s*(.+?)\s*", text)
    if found is None:
        raise ConfigError(f'--where {text!r}: write a condition as category=tents, price<=100 or "brand in Acme,Fell"')
    name, operator, value = found[1], found[2].strip(), found[3]
    values = tuple(part.strip() for part in value.split(",")) if operator == "in" else (value,)
    return FieldCondition(name, "==" if operator == "=" else operator, values)


def _print_passages(report: RetrievalReport, out: Console, *, is_explained: bool) -> None:
    if not report.passages:
        out.print("nothing was found", style="yellow")
    for number, passage in enumerate(report.passages, start=1):
        dated = f", {passage.updated_at}" if passage.updated_at else ""
        out.print(f"{number}. {passage.title}  [dim]({passage.source}{dated})[/]", highlight=False)
        out.print(f"   {passage.text}", markup=False, highlight=False)
    if is_explained:
        out.print(explanation_table(report))
        out.print(timing_line(report), highlight=False, style="dim")


def make_set(parsed: argparse.Namespace, out: Console) -> None:
    """Make the evaluation set."""
    with out.status("reading the documentation of installed packages"):
        documents, questions = make_evaluation_set(parsed.folder, parsed.sample, parsed.documents)
    folder = parsed.folder
    out.print(f"{documents} documents in {folder / DATA_FOLDER}, {questions} questions", highlight=False)
    out.print(f"next: voxray retrieve eval {folder / QUESTIONS_FILE} --data {folder / DATA_FOLDER}", highlight=False)


async def evaluate(parsed: argparse.Namespace, out: Console) -> None:
    """Ask all questions at each stage, print the figures, and write report and plot."""
    questions = load_retrieval_questions(parsed.questions)
    encoder = SentenceEncoder(parsed.encoder_dir, parsed.threads)
    encoder.warm_up()
    reranker = _reranker(parsed)
    with _milvus(parsed, encoder, out) as place, _progress(out) as bar:
        results: dict[str, list[Found]] = {}
        for stage in ("meaning", "words", "hybrid", *(["rerank"] if reranker else [])):
            mode: Stage = "meaning" if stage == "meaning" else "words" if stage == "words" else "hybrid"
            retriever = _retriever(parsed, place, encoder, mode, reranker if stage == "rerank" else None)
            results[stage] = await _measured(retriever, questions, parsed.tenant, bar, stage)
    stages = [figures(stage, found) for stage, found in results.items()]
    kinds = {stage: recall_by_kind(found, _MISSED_AT) for stage, found in results.items()}
    out.print(quality_table(stages), latency_table(stages))
    for stage, recalls in kinds.items():
        listed = ", ".join(f"{kind} {recall:.3f}" for kind, recall in recalls.items())
        out.print(f"recall@{_MISSED_AT} by kind, {stage}: {listed}", highlight=False)
    parsed.out.mkdir(parents=True, exist_ok=True)
    last = list(results)[-1]
    written = {
        "stages": [asdict(stage) for stage in stages],
        f"recall_at_{_MISSED_AT}_by_kind": kinds,
        "missed": missed(results[last], _MISSED_AT),
    }
    (parsed.out / "retrieval.json").write_text(json.dumps(written, indent=2) + "\n", "utf-8")
    (parsed.out / "retrieval.svg").write_text(chart(stages), "utf-8")
    out.print(f"written: {parsed.out / 'retrieval.json'}, {parsed.out / 'retrieval.svg'}", highlight=False)


async def _measured(
    retriever: MilvusRetriever, questions: list[RetrievalQuestion], tenant: str, bar: Progress, stage: str
) -> list[Found]:
    task = bar.add_task(stage, total=len(questions))
    try:
        # The first search is not measured, since it opens connections and makes the server build indexes.
        for question in questions[:3]:
            await retriever.search(RetrievalQuery(tenant, f"warm up {question.question}", 1, 60_000))
        return await find_all(retriever, questions, tenant, lambda: bar.advance(task))
    finally:
        await retriever.aclose()


def _retriever(
    parsed: argparse.Namespace,
    place: tuple[str, str],
    encoder: SentenceEncoder,
    stage: Stage,
    reranker: Reranker | None,
) -> MilvusRetriever:
    """Return a retriever for `place`, which is the address of Milvus and an alias."""
    token = secret(process_environment(), parsed.token_env, needed_by="--token-env")
    settings = MilvusSettings.model_validate_json(parsed.settings)
    return MilvusRetriever(
        *place, encoder, token=token, settings=settings, stage=stage, reranker=reranker, version=parsed.version
    )


def _reranker(parsed: argparse.Namespace) -> Reranker | None:
    if not parsed.rerank_dir:
        return None
    from deployments.engines.embedding.cross_encoder import CrossEncoder

    return CrossEncoder(parsed.rerank_dir, parsed.threads)


@contextmanager
def _milvus(parsed: argparse.Namespace, encoder: SentenceEncoder, out: Console) -> Iterator[tuple[str, str]]:
    """Provide address and alias to measure: the live data, or `--data` indexed in a separate Milvus."""
    if not parsed.data:
        yield parsed.milvus, parsed.alias
        return
    with tempfile.TemporaryDirectory(prefix="voxray-evaluation-") as folder, _own_milvus(Path(folder)) as uri:
        request = ReindexRequest(parsed.data.resolve(), uri, _EVALUATION_ALIAS, parsed.encoder_dir, parsed.tenant)
        started = time.perf_counter()
        with out.status(f"indexing {parsed.data} (minutes, with two cores)"):
            reindex_in_process(request, encoder)
        out.print(f"{parsed.data} indexed in {time.perf_counter() - started:.0f} s", highlight=False)
        yield uri, _EVALUATION_ALIAS


@contextmanager
def _own_milvus(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = Program.MILVUS_SERVER.command("--data-dir", str(folder), "--port", str(port))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not is_milvus_ready(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise EngineError(
                        Component.VECTOR_STORE, "the server for the evaluation did not start", retryable=False
                    )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(timeout=0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _progress(out: Console) -> Progress:
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=out, transient=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ingest_jobs.measuring.retrieval.command", description="Search the index."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("ask", "eval"):
        command = commands.add_parser(name)
        command.add_argument("--milvus", default="", help="URI of the Milvus server")
        command.add_argument("--alias", default="knowledge")
        command.add_argument("--version", default="")
        command.add_argument("--tenant", default=DEFAULT_TENANT)
        command.add_argument("--encoder-dir", type=Path, required=True)
        command.add_argument("--rerank-dir", type=Path, help="directory of a cross-encoder")
        command.add_argument("--token-env", default="", help="name of the variable that holds the Milvus token")
        command.add_argument("--settings", default="{}", help="settings of the engine milvus as JSON")
        command.add_argument("--threads", type=int, default=1)
    asking, evaluating = commands.choices["ask"], commands.choices["eval"]
    asking.add_argument("question")
    asking.add_argument("--stage", choices=["hybrid", "meaning", "words"], default="hybrid")
    asking.add_argument("--limit", type=int, default=6)
    asking.add_argument("--budget-ms", type=int, default=10_000)
    asking.add_argument("--source", action="append", default=[])
    asking.add_argument("--where", action="append", default=[])
    asking.add_argument("--updated-from", default="")
    asking.add_argument("--updated-until", default="")
    asking.add_argument("--explain", action="store_true")
    asking.add_argument("--json", action="store_true")
    making = commands.add_parser("make-set")
    making.add_argument("folder", type=Path)
    making.add_argument("--sample", type=Path, required=True, help="folder of the sample company")
    making.add_argument("--documents", type=int, default=DOCUMENTS)
    evaluating.add_argument("questions", type=Path)
    evaluating.add_argument("--data", type=Path, help="folder to index in a separate Milvus")
    evaluating.add_argument("--out", type=Path, default=Path("."))
    return parser


def main() -> int:
    """Run the command and return its exit code: 0 done, 1 an engine failed, 2 wrong input, 130 interrupted."""
    parsed = _parser().parse_args()
    out, errors = Console(), Console(stderr=True, highlight=False)
    try:
        if parsed.command == "make-set":
            make_set(parsed, out)
            return 0
        if not parsed.milvus and not getattr(parsed, "data", None):
            raise ConfigError("there is no Milvus: give --milvus URI or --data DIR")
        asyncio.run(ask(parsed, out) if parsed.command == "ask" else evaluate(parsed, out))
    except VoxrayError as error:
        errors.print(f"voxray: {error}", markup=False)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        errors.print("interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
