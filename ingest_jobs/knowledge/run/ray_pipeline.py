"""Runs the stages as a Ray Data pipeline, with one pool of actors each, small blocks and a limit on CPUs.

    units ── ReadActor ── chunks ── EmbedActor (pool) ── vectors ── WriteActor ── outcomes ── the driver

Ray Data stops a stage whose output is not consumed, so memory does not grow with the data. A dead actor is restarted
and its batch repeated, since writing is idempotent. The driver sees every outcome, which serves as progress and
checkpoint.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

from cluster.config.environment import process_environment
from ingest_jobs.knowledge.quiet import quiet_libraries
from ingest_jobs.knowledge.read.documents import Unit
from ingest_jobs.knowledge.run.pipeline import JobPlan, ReadUnits, WriteRows, yield_cpu
from ingest_jobs.knowledge.store.rows import Row, columns_of_rows, embed_rows, rows_of_columns
from pipelines.errors import Component, EngineError, VoxrayError

# Files are handled by the dozen, because an item for each would cost more than reading it.
_UNITS_AN_ITEM = 16
_MAX_READ_BLOCKS = 64
# Ray's default of 128 MiB would hold back a whole corpus of texts until it is read.
_BLOCK_BYTES = 1024 * 1024
_STAGE_CPUS = 0.5
_RESOURCE_SHARE = 0.001


def _settle(plan: JobPlan) -> None:
    """Prepare a worker process."""
    quiet_libraries()
    yield_cpu(plan.dataset.placement.niceness)


class ReadActor:
    """The reading stage."""

    def __init__(self, plan: JobPlan) -> None:
        _settle(plan)
        self._reader = ReadUnits(plan)

    def __call__(self, item: dict[str, Any]) -> Iterator[Row]:
        """Yield the rows of the units in an item."""
        for fields in json.loads(item["units"]):
            yield from self._reader.rows(Unit(**fields))


class EmbedActor:
    """The embedding stage: one encoder per actor of the pool."""

    def __init__(self, plan: JobPlan) -> None:
        _settle(plan)
        self._encoder = plan.open_encoder()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add the vectors to a batch."""
        return columns_of_rows(embed_rows(rows_of_columns(batch), self._encoder.encode))


class WriteActor:
    """The writing stage."""

    def __init__(self, plan: JobPlan) -> None:
        _settle(plan)
        self._writer = WriteRows(plan)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Write a batch and return its outcomes."""
        return columns_of_rows(self._writer.outcomes(rows_of_columns(batch)))


def run_with_ray(plan: JobPlan, units: Iterator[Unit]) -> Iterator[list[Row]]:
    """Run all stages on the current cluster, starting a local Ray if there is none, and yield outcomes.

    Raises:
        VoxrayError: the first error of a worker, exactly as raised there.
    """
    import ray.data

    _join(plan)
    _configure(plan)
    items = [{"units": packed} for packed in _packed(units)]
    if not items:
        return
    placed = _placement(plan)
    rule, place = plan.dataset.embedding, plan.dataset.placement
    stage = {"compute": ray.data.ActorPoolStrategy(size=1), "num_cpus": _STAGE_CPUS, "fn_constructor_args": (plan,)}
    outcomes = (
        ray.data.from_items(items, override_num_blocks=min(len(items), _MAX_READ_BLOCKS))
        .flat_map(ReadActor, **{**stage, "compute": ray.data.ActorPoolStrategy(size=place.readers)}, **placed)
        .map_batches(
            EmbedActor,
            fn_constructor_args=(plan,),
            batch_size=rule.batch_rows,
            compute=ray.data.ActorPoolStrategy(size=rule.workers),
            num_cpus=rule.num_cpus,
            num_gpus=rule.num_gpus or None,
            **placed,
        )
        .map_batches(WriteActor, batch_size=None, **stage, **placed)
    )
    try:
        for batch in outcomes.iter_batches(batch_size=None, prefetch_batches=0):
            yield rows_of_columns(batch)
    except VoxrayError:
        raise
    except Exception as error:
        raise own_error(error) from error


def _join(plan: JobPlan) -> None:
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if process_environment().get("RAY_ADDRESS", "local") in {"", "local"}:
        # Our own Ray gets enough logical CPUs for every stage, however few the machine has.
        options["num_cpus"] = math.ceil(_needed_cpus(plan)) + 1
    ray.init(**options)
    quiet_libraries()


def _configure(plan: JobPlan) -> None:
    import ray
    from ray.data import DataContext, ExecutionResources

    context = DataContext.get_current()
    # A progress bar is useless in a log, and this job prints its own progress.
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # otherwise the reason for refusing a file would be lost
    context.target_max_block_size = _BLOCK_BYTES
    needed = _needed_cpus(plan)
    share = plan.dataset.placement.cpu_share * float(ray.cluster_resources().get("CPU", needed))
    context.execution_options.resource_limits = ExecutionResources.for_limits(cpu=max(share, needed))


def _needed_cpus(plan: JobPlan) -> float:
    """Return how many CPUs all stages use at once. With fewer they would wait for each other for ever."""
    rule = plan.dataset.embedding
    return _STAGE_CPUS * (1 + plan.dataset.placement.readers) + rule.num_cpus * rule.workers


def _placement(plan: JobPlan) -> dict[str, Any]:
    import ray

    name = plan.dataset.placement.resource
    return {"resources": {name: _RESOURCE_SHARE}} if name and ray.cluster_resources().get(name) else {}


def _packed(units: Iterator[Unit]) -> Iterator[str]:
    while group := list(islice(units, _UNITS_AN_ITEM)):
        yield json.dumps([asdict(unit) for unit in group])


def own_error(error: BaseException) -> VoxrayError:
    """Return the product's error raised by a worker, however deeply Ray wrapped it. Others become an EngineError."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, VoxrayError):
            return cause
        seen.add(id(cause))
        cause = getattr(cause, "cause", None) or cause.__cause__ or cause.__context__
    print(f"! {type(error).__name__}: {str(error)[:2000]}", file=sys.stderr)  # noqa: T201 - a job's log is its output
    return EngineError(Component.INGEST, f"the Ray Data job failed: {type(error).__name__}", retryable=True)
