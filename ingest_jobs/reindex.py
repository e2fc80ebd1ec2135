"""Reindex a folder of business data: a Ray Data job, or the same stages in this process.

    python -m ingest_jobs.reindex --source DIR --milvus URI --alias NAME --model-dir DIR [--tenant T] [--force]

Inside a Ray job it joins that cluster; elsewhere Ray starts in this process. The live collection answers calls until
the new one is sealed; unchanged data ends the job before Ray starts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from cluster.config.environment import process_environment, secret
from deployments.engines.milvus_store import IndexedPassage, KnowledgeStore
from ingest_jobs.dataset import Dataset, fingerprint, load_dataset, source_files
from ingest_jobs.rows import Encode, embed_columns, passage_of_row, row_of_chunk
from ingest_jobs.stages import PIPELINE_VERSION, chunks_of_file
from pipelines.errors import ConfigError, EngineError, VoxrayError

if TYPE_CHECKING:
    from deployments.engines.milvus_retriever import QueryEncoder

_EMBED_BATCH_ROWS = 32
# Each task runs in a worker process that costs seconds of CPU to start, on cores that answer calls meanwhile.
_STAGE_TASKS = 1
# Enough for progress and parallel reading; each block costs a task.
_READ_BLOCKS = 32


@dataclass(frozen=True, slots=True)
class ReindexRequest:
    """What to index and where. `token_env` names the variable that holds Milvus's token; `threads` is per embedder."""

    source: Path
    milvus_uri: str
    alias: str
    model_dir: Path
    tenant: str = "default"
    is_forced: bool = False
    token_env: str = ""
    threads: int = 1
    embedders: int = 1

    @property
    def token(self) -> str:
        """The credential, read when it is used, so that no job description carries it."""
        return secret(process_environment(), self.token_env, needed_by="--token-env")


@dataclass(frozen=True, slots=True)
class ReindexReport:
    """How a job ended. `is_skipped`: the data had not changed and the live collection stays."""

    collection: str
    is_skipped: bool
    files: int
    passages: int
    elapsed_s: float


Build = Callable[[ReindexRequest, list[Path], str], None]
Say = Callable[[str], None]


def _silent(_line: str) -> None:
    """Show no progress."""


def reindex_in_process(request: ReindexRequest, encoder: QueryEncoder, *, say: Say = _silent) -> ReindexReport:
    """Run the job without Ray, for small data and tests.

    Raises:
        ConfigError: the source is missing, empty or malformed.
        EngineError: Milvus failed; the live collection is untouched.
    """

    def build(request: ReindexRequest, files: list[Path], collection: str) -> None:
        dataset = load_dataset(request.source)
        rows = [row for path in files for row in _rows_of_file(path, request, dataset)]
        store = KnowledgeStore(request.milvus_uri, request.alias, token=request.token)
        for start in range(0, len(rows), _EMBED_BATCH_ROWS):
            batch = rows[start : start + _EMBED_BATCH_ROWS]
            store.upsert(collection, _embedded(batch, encoder.encode))
            say(f"{min(start + _EMBED_BATCH_ROWS, len(rows))} of {len(rows)} passages embedded and written")
        store.close()

    return _run(request, build, say)


def reindex_with_ray(request: ReindexRequest, *, say: Say = _silent) -> ReindexReport:
    """Run the job as a Ray Data pipeline on the current cluster (a local Ray is started when there is none).

    Raises:
        ConfigError: the source is missing, empty or malformed.
        EngineError: Milvus failed; the live collection is untouched.
    """
    return _run(request, _build_with_ray, say)


def _run(request: ReindexRequest, build: Build, say: Say) -> ReindexReport:
    """Skip or build, check, switch: the part that both ways of running share."""
    started = time.perf_counter()
    dataset = load_dataset(request.source)
    files = list(source_files(request.source, dataset))
    if not files:
        raise ConfigError(f"{request.source}: no readable business data")
    data_print = fingerprint(request.source, dataset, PIPELINE_VERSION, _model_print(request.model_dir))
    store = KnowledgeStore(request.milvus_uri, request.alias, token=request.token)
    try:
        live = store.live_collection()
        if live and not request.is_forced and store.fingerprint(request.tenant) == data_print:
            say(f"unchanged since {live} was built; nothing to do")
            return ReindexReport(live, True, len(files), 0, time.perf_counter() - started)
        say(f"indexing {len(files)} files of {request.source.name} for tenant {request.tenant}")
        collection = store.create_collection(request.tenant, data_print, _dimensions(request.model_dir))
        with _dropped_on_failure(store, collection):
            build(request, files, collection)
            passages = store.seal(collection, request.tenant)
            if passages == 0:
                raise ConfigError(f"{request.source}: the files hold no text")
        dropped = store.make_live(collection)
    finally:
        store.close()
    say(f"{request.alias} -> {collection}: {passages} passages live, {len(dropped)} old version(s) dropped")
    return ReindexReport(collection, False, len(files), passages, time.perf_counter() - started)


@contextmanager
def _dropped_on_failure(store: KnowledgeStore, collection: str) -> Iterator[None]:
    """A collection that was not finished must not stay behind."""
    try:
        yield
    except BaseException:
        store.drop_collection(collection)
        raise


def _rows_of_file(path: Path, request: ReindexRequest, dataset: Dataset) -> list[dict[str, str]]:
    return [row_of_chunk(c) for c in chunks_of_file(path, request.source.resolve(), dataset, request.tenant)]


def _embedded(rows: list[dict[str, str]], encode: Encode) -> list[IndexedPassage]:
    found = embed_columns([row["title"] for row in rows], [row["text"] for row in rows], encode)
    return [passage_of_row({**row, **asdict(vectors)}) for row, vectors in zip(rows, found, strict=True)]


def _build_with_ray(request: ReindexRequest, files: list[Path], collection: str) -> None:
    import ray.data

    from ingest_jobs.milvus_datasink import MilvusDatasink

    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="ERROR")
    dataset = load_dataset(request.source)
    # Lines of a bar are no use in a log; a terminal gets Ray's own bars.
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    context.raise_original_map_exception = True  # else the reason why a file is refused is lost on the way
    items = [{"path": str(path)} for path in files]
    rows = ray.data.from_items(items, override_num_blocks=min(len(items), _READ_BLOCKS)).flat_map(
        lambda item: _rows_of_file(Path(item["path"]), request, dataset),
        num_cpus=0.5,
        concurrency=_STAGE_TASKS,
    )
    embedded = rows.map_batches(
        EmbedBatch,
        fn_constructor_args=(str(request.model_dir), request.threads),
        batch_size=_EMBED_BATCH_ROWS,
        compute=ray.data.ActorPoolStrategy(size=request.embedders),
        num_cpus=1,
    )
    sink = MilvusDatasink(request.milvus_uri, request.alias, collection, token=request.token)
    try:
        embedded.write_datasink(sink, ray_remote_args={"num_cpus": 0.5}, concurrency=_STAGE_TASKS)
    except Exception as error:
        raise _own_error(error) from error


def _own_error(error: BaseException) -> VoxrayError:
    """Return the product's error that a worker raised, however deep Ray wrapped it; others become an EngineError."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, VoxrayError):
            return cause
        seen.add(id(cause))
        cause = getattr(cause, "cause", None) or cause.__cause__ or cause.__context__
    return EngineError("ingest", f"the Ray Data job failed: {type(error).__name__}", retryable=True)


class EmbedBatch:
    """The embedding stage: one encoder per actor of the pool."""

    def __init__(self, model_dir: str, threads: int) -> None:
        from deployments.engines.embedder import SentenceEncoder

        self._encoder = SentenceEncoder(Path(model_dir), threads)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add the columns `vector` and `sentence_vectors` to a batch of rows."""
        found = embed_columns(list(batch["title"]), list(batch["text"]), self._encoder.encode)
        # Rows have different numbers of sentences: flat columns keep Arrow's types plain.
        flat = np.empty(len(found), dtype=object)
        flat[:] = [item.sentence_vectors.ravel() for item in found]
        return {**batch, "vector": np.stack([item.vector for item in found]), "sentence_vectors": flat}


def _model_print(model_dir: Path) -> str:
    """Identify the encoder by its configuration and the size of its weights: hashing them takes longer than a skip."""
    config = model_dir / "config.json"
    sizes = sorted((p.name, p.stat().st_size) for p in model_dir.glob("*.safetensors"))
    return f"{config.read_text('utf-8') if config.exists() else ''}{sizes}"


def _dimensions(model_dir: Path) -> int:
    config = model_dir / "config.json"
    if not config.exists():
        raise ConfigError(f"{model_dir}: no config.json; this is no encoder's directory")
    return int(json.loads(config.read_text("utf-8"))["hidden_size"])


def _parse(arguments: list[str]) -> ReindexRequest:
    parser = argparse.ArgumentParser(prog="python -m ingest_jobs.reindex", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of business data")
    parser.add_argument("--milvus", required=True, help="URI of the Milvus server")
    parser.add_argument("--alias", default="knowledge", help="alias of the live collection")
    parser.add_argument("--model-dir", type=Path, required=True, help="directory of the sentence encoder")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--force", action="store_true", help="build a new collection even when nothing changed")
    parser.add_argument("--token-env", default="", help="name of the variable that holds the Milvus token")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each embedder")
    parser.add_argument("--embedders", type=int, default=1, help="actors in the embedding pool")
    parsed = parser.parse_args(arguments)
    return ReindexRequest(
        source=parsed.source.resolve(),
        milvus_uri=parsed.milvus,
        alias=parsed.alias,
        model_dir=parsed.model_dir.resolve(),
        tenant=parsed.tenant,
        is_forced=parsed.force,
        token_env=parsed.token_env,
        threads=parsed.threads,
        embedders=parsed.embedders,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code (0 done or skipped, 2 wrong input, 3 an engine failed)."""

    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    try:
        report = reindex_with_ray(_parse(sys.argv[1:] if arguments is None else arguments), say=console.print)
    except VoxrayError as error:
        errors.print(f"reindex failed: {error}", markup=False)
        return 3 if isinstance(error, EngineError) else 2
    console.print(f"done in {report.elapsed_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
