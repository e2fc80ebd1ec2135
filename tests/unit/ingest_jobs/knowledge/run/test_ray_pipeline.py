"""The stages in Ray's hands: the same outcomes as in one process, room for every stage, and errors of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.data

from ingest_jobs.knowledge.read.dataset import Dataset
from ingest_jobs.knowledge.read.documents import Unit
from ingest_jobs.knowledge.read.sources import all_units
from ingest_jobs.knowledge.run.job import dimensions_of, with_collection
from ingest_jobs.knowledge.run.pipeline import JobPlan
from ingest_jobs.knowledge.run.ray_pipeline import own_error, run_with_ray
from ingest_jobs.knowledge.store.rows import Row, columns_of_rows, rows_of_columns
from pipelines.errors import Component, ConfigError, EngineError, VoxrayError
from tests.unit.ingest_jobs.knowledge.memory_milvus import Bench, bench_on

pytestmark = pytest.mark.unit
EMBEDDING = {"engine": "scripted", "workers": 3, "num_cpus": 2.0, "batch_rows": 4}


class Pipeline:
    """Stands in the place of a Ray dataset: runs the stages' actors here, and keeps what each was asked for."""

    def __init__(self, items: list[dict[str, Any]], blocks: int) -> None:
        self.items, self.blocks = items, blocks
        self.stages: list[tuple[str, dict[str, Any]]] = []
        self.work: list[Any] = []

    def flat_map(self, actor: Any, **options: Any) -> Pipeline:
        self.stages.append((actor.__name__, options))
        self.work.append(lambda items: [row for item in items for row in made(item)])
        made = actor(*options["fn_constructor_args"])
        return self

    def map_batches(self, actor: Any, *, batch_size: int | None, **options: Any) -> Pipeline:
        self.stages.append((actor.__name__, {**options, "batch_size": batch_size}))
        made = actor(*options["fn_constructor_args"])

        def work(rows: list[Row]) -> list[Row]:
            size = batch_size or len(rows)
            batches = [rows[start : start + size] for start in range(0, len(rows), size)]
            return [row for batch in batches for row in rows_of_columns(made(columns_of_rows(batch)))]

        self.work.append(work)
        return self

    def iter_batches(self, **_options: Any) -> Iterator[dict[str, Any]]:
        rows: list[Any] = self.items
        for work in self.work:
            rows = work(rows)
        yield columns_of_rows(rows)


class Cluster:
    """Stands in the place of Ray: no process starts; what was asked of it is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.joined: list[dict[str, Any]] = []
        self.made: list[Pipeline] = []
        self.resources = {"CPU": 40.0}
        self.context = SimpleNamespace(execution_options=SimpleNamespace(resource_limits=None))
        self.is_joined = False
        monkeypatch.setattr(ray, "is_initialized", lambda: self.is_joined)
        monkeypatch.setattr(ray, "init", lambda **options: self.joined.append(options))
        monkeypatch.setattr(ray, "cluster_resources", lambda: self.resources)
        monkeypatch.setattr(ray.data, "from_items", self._from_items)
        monkeypatch.setattr(ray.data.DataContext, "get_current", lambda: self.context)

    def _from_items(self, items: list[dict[str, Any]], *, override_num_blocks: int) -> Pipeline:
        self.made.append(Pipeline(items, override_num_blocks))
        return self.made[-1]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    return Cluster(monkeypatch)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return bench_on(monkeypatch, tmp_path)


def plan_for(**changes: Any) -> JobPlan:
    described = {"embedding": EMBEDDING, "placement": {"niceness": 0, **changes}}
    return JobPlan(Dataset.model_validate(described), "default", "memory", "knowledge", Path())


def plan_and_units(bench: Bench, documents: int) -> tuple[JobPlan, list[Unit]]:
    """Write documents, begin a version, and return how a pass over them runs."""
    for number in range(documents):
        bench.write(f"note{number:02}.md", f"# Note {number}\n\nItem {number} costs {number} dollars.\n")
    with closing(bench.open_job()) as job:
        version = bench.version([])
        assert dimensions_of(job.plan)
        return with_collection(job.plan, version, lookup=False), list(all_units(job.dataset))


def test_stages_write_what_they_would_in_one_process(cluster: Cluster, bench: Bench) -> None:
    plan, units = plan_and_units(bench, 20)
    outcomes = [row for batch in run_with_ray(plan, iter(units)) for row in batch]
    by_ray = bench.rows()
    bench.milvus.collections[plan.collection].rows.clear()
    here = [row for batch in bench.run_here(plan, iter(units)) for row in batch]
    key = sorted(outcomes[0])
    assert sorted([str(row[name]) for name in key] for row in outcomes) == sorted(
        [str(row[name]) for name in key] for row in here
    )
    assert len(by_ray) == 20
    assert by_ray == bench.rows()


def test_small_files_share_an_item_and_blocks_are_not_more_than_items(cluster: Cluster, bench: Bench) -> None:
    plan, units = plan_and_units(bench, 20)
    list(run_with_ray(plan, iter(units)))
    (made,) = cluster.made
    assert (len(made.items), made.blocks) == (2, 2)


def test_stages_have_the_workers_and_processors_of_the_description(cluster: Cluster, bench: Bench) -> None:
    cluster.resources["ingest"] = 1.0
    plan, units = plan_and_units(bench, 1)
    list(run_with_ray(plan, iter(units)))
    stages = dict(cluster.made[0].stages)
    assert list(stages) == ["ReadActor", "EmbedActor", "WriteActor"]
    rule = plan.dataset.embedding
    assert stages["EmbedActor"]["compute"].max_size == rule.workers
    assert stages["EmbedActor"]["num_cpus"] == rule.num_cpus
    assert stages["EmbedActor"]["batch_size"] == rule.batch_rows
    assert stages["EmbedActor"]["num_gpus"] is None
    # Where machines for such jobs are, all of it runs there.
    assert all(0 < options["resources"]["ingest"] < 1 for options in stages.values())


def test_cluster_without_machines_for_jobs_takes_them_anywhere(cluster: Cluster, bench: Bench) -> None:
    plan, units = plan_and_units(bench, 1)
    list(run_with_ray(plan, iter(units)))
    assert all("resources" not in options for _, options in cluster.made[0].stages)


def test_nothing_to_read_makes_no_pipeline(cluster: Cluster) -> None:
    assert list(run_with_ray(plan_for(), iter(()))) == []
    assert cluster.made == []


@pytest.mark.parametrize("address", ["", "local"])
def test_own_ray_has_processors_for_every_stage_at_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    list(run_with_ray(plan_for(readers=2), iter(())))
    (options,) = cluster.joined
    assert options["num_cpus"] >= 3 * 2.0 + 0.5 * (2 + 1)


def test_cluster_that_is_there_keeps_its_own_processors(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    list(run_with_ray(plan_for(), iter(())))
    assert "num_cpus" not in cluster.joined[0]
    cluster.is_joined = True
    list(run_with_ray(plan_for(), iter(())))
    assert len(cluster.joined) == 1


@pytest.mark.parametrize(("cpus", "limit"), [(40.0, 20.0), (4.0, 7.0)])
def test_job_holds_its_share_of_the_processors_but_never_less_than_its_stages_need(
    cluster: Cluster, cpus: float, limit: float
) -> None:
    cluster.resources["CPU"] = cpus
    list(run_with_ray(plan_for(), iter(())))
    assert cluster.context.execution_options.resource_limits.cpu == limit
    assert cluster.context.raise_original_map_exception


def test_error_of_a_worker_is_raised_as_it_was_raised_there(
    cluster: Cluster, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, units = plan_and_units(bench, 1)
    theirs = ConfigError("the table has no column name")

    def fail(self: Pipeline, **_options: Any) -> Iterator[Any]:
        raise wrapped(theirs)
        yield

    monkeypatch.setattr(Pipeline, "iter_batches", fail)
    with pytest.raises(ConfigError, match="the table has no column name") as caught:
        list(run_with_ray(plan, iter(units)))
    assert caught.value is theirs


def wrapped(cause: BaseException) -> Exception:
    """Wrap an error as Ray does: as an attribute, and as what another error came from."""
    inner = RuntimeError("RayTaskError")
    inner.cause = cause  # type: ignore[attr-defined]
    outer = RuntimeError("SystemException")
    outer.__cause__ = inner
    return outer


def test_own_error_is_found_however_deep_it_lies() -> None:
    deep = EngineError(Component.VECTOR_STORE, "gone", retryable=True)
    error: BaseException = deep
    for _ in range(3):
        error = wrapped(error)
    assert own_error(error) is deep


def test_foreign_error_is_one_to_run_again_and_its_text_goes_to_the_log_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = RuntimeError("a caller's words"), KeyError("second")
    first.__cause__, second.__cause__ = second, first  # a ring, as of an error that is raised again
    found: VoxrayError = own_error(first)
    assert isinstance(found, EngineError)
    assert found.retryable
    assert "RuntimeError" in str(found)
    assert "words" not in str(found)
    assert "! RuntimeError: a caller's words" in capsys.readouterr().err
