"""What one job works with: its request, its connections, and the steps shared by all modes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import redis

from cluster.config.environment import process_environment, secret
from deployments.engines.milvus.versions import VersionStore
from deployments.stores.change_log import ChangeLog, DocumentChange
from deployments.stores.redis import connect, redis_errors
from ingest_jobs.knowledge.read.dataset import Dataset
from ingest_jobs.knowledge.read.documents import Unit, Unreadable
from ingest_jobs.knowledge.read.stages import PIPELINE_VERSION
from ingest_jobs.knowledge.run.pipeline import SCRIPTED_DIMENSIONS, Encoder, JobPlan, LazyEncoder, now_s
from ingest_jobs.knowledge.run.quality import GateFailed
from ingest_jobs.knowledge.run.reporting import Reporter
from ingest_jobs.knowledge.run.updates import ChangeWriter, dataset_for
from ingest_jobs.knowledge.store.blobs import Blobs, open_blobs
from ingest_jobs.knowledge.store.exclusive import exclusive
from ingest_jobs.knowledge.store.rows import Row
from pipelines.agents.definition import DEFAULT_TENANT
from pipelines.errors import ConfigError, EngineError

RunStages = Callable[[JobPlan, Iterator[Unit]], Iterator[list[Row]]]
_LOCK_WAIT_S = 45.0  # longer than the lease of a killed job
_SWITCH_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class ReindexRequest:
    """What to index and where.

    Attributes:
        source: a dataset's YAML file, or a folder.
        tenant: tenant of the data, unless the dataset names one.
        is_forced: whether to build a new version even if nothing has changed.
        token_env, redis_password_env: names of the variables that hold the credentials.
        objects_url: URL of the object store for reports and undo files; "" stores none.
        redis_url: URL of the Redis with the change log and the locks; "" for neither.
        job: id of the job; "" derives one from the time.
        bulk_url: URL of the object storage that Milvus imports from; "" writes row by row.
    """

    source: Path
    milvus_uri: str
    alias: str
    model_dir: Path
    tenant: str = DEFAULT_TENANT
    is_forced: bool = False
    token_env: str = ""
    objects_url: str = ""
    redis_url: str = ""
    redis_password_env: str = ""
    job: str = ""
    bulk_url: str = ""


@dataclass(slots=True)
class Job:
    """A running job with its connections. It must be closed."""

    plan: JobPlan
    request: ReindexRequest
    store: VersionStore
    blobs: Blobs
    redis: redis.Redis | None
    reporter: Reporter
    run_stages: RunStages
    own_encoder: Encoder | None = None

    @property
    def dataset(self) -> Dataset:
        return self.plan.dataset

    @property
    def tenant(self) -> str:
        return self.plan.tenant

    @property
    def changes(self) -> ChangeLog | None:
        """The collection's change log, or None without a Redis."""
        return None if self.redis is None else ChangeLog(self.redis, self.plan.alias)

    def encoder(self) -> Encoder:
        """Return the encoder of this process, loaded on first use."""
        if self.own_encoder is None:
            self.own_encoder = LazyEncoder(self.plan)
        return self.own_encoder

    def expect_encoder(self) -> None:
        """Start loading the encoder in the background, while the stores are queried."""
        if isinstance(encoder := self.encoder(), LazyEncoder):
            encoder.expect()

    def content_print(self) -> str:
        """Return the fingerprint of everything that determines what a document becomes."""
        return self.dataset.content_print(PIPELINE_VERSION, model_print(self.plan))

    def replay(self, collection: str, after: str) -> str:
        """Apply the changes after the id `after` to a version, and return the id of the last one."""
        if (log := self.changes) is None:
            return after
        writer: ChangeWriter | None = None
        for change_id, change in log.after(after):
            writer = writer or ChangeWriter(self.plan, self.store, self.encoder(), self.blobs)
            after = change_id
            if change.kind == "erase":
                continue  # erased through the tombstone, before the switch
            self._apply(writer, collection, change_id, change)
            self.reporter.report.replayed_changes += 1
        return after

    def _apply(self, writer: ChangeWriter, collection: str, change_id: str, change: DocumentChange) -> None:
        """Apply a change to a version. As in the follower, a change that the store will never accept is set aside."""
        try:
            is_own = change.tenant == self.tenant
            dataset = self.dataset if is_own else dataset_for(self.blobs, self.plan.alias, change)
            writer.apply(collection, change, dataset)
        except Unreadable:
            return  # the follower informs the sender
        except EngineError as error:
            log = self.changes
            if error.retryable or log is None:
                raise
            log.set_aside(change_id, change, str(error))
            self.reporter.report.set_aside_changes += 1

    def check_refusals(self) -> None:
        """Raise `GateFailed` if more was set aside than the dataset allows."""
        report, allowed = self.reporter.report, self.dataset.limits.max_failed_share
        if report.refused_share() > allowed:
            shown = "\n".join(f"  - {reason}" for reason in report.refusals[:10])
            total = report.documents + report.refused
            raise GateFailed(
                f"{report.refused} of {total} documents were set aside, more than limits.max_failed_share"
                f" ({allowed:g}) allows; the live version stays:\n{shown}"
            )

    @contextmanager
    def switching(self) -> Iterator[None]:
        """Keep the follower from writing, so that changes applied now go to the version that is live afterwards."""
        with exclusive(f"switch:{self.plan.alias}", client=self.redis, folder=None, wait_s=_SWITCH_WAIT_S):
            yield

    def close(self) -> None:
        """Close the connections."""
        self.store.close()
        if self.redis is not None:
            self.redis.close()


def open_redis(url: str, password_env: str) -> redis.Redis | None:
    """Connect to Redis, or return None without a URL.

    Raises:
        EngineError: Redis does not answer.
    """
    if not url:
        return None
    password = secret(process_environment(), password_env, needed_by="services.redis.password_env")
    client = connect(url, password)
    with redis_errors(f"no answer at {url}"):
        client.ping()
    return client


def plan_of(request: ReindexRequest, dataset: Dataset) -> JobPlan:
    """Return the plan with what the workers need to know."""
    return JobPlan(
        dataset=dataset,
        tenant=dataset.tenant or request.tenant,
        milvus_uri=request.milvus_uri,
        alias=dataset.collection or request.alias,
        model_dir=request.model_dir,
        token_env=request.token_env,
        now_s=now_s(),
    )


@contextmanager
def exclusive_job(job: Job) -> Iterator[None]:
    """Ensure that this is the only job on the collection."""
    url = job.request.objects_url
    folder = Path(url.removeprefix("file://")) / "ingest" / "locks" if url and not url.startswith("s3://") else None
    with exclusive(f"ingest:{job.plan.alias}", client=job.redis, folder=folder, wait_s=_LOCK_WAIT_S):
        yield


def open_stores(request: ReindexRequest, plan: JobPlan) -> tuple[VersionStore, Blobs, redis.Redis | None]:
    """Connect to everything that a job uses."""
    client = open_redis(request.redis_url, request.redis_password_env)
    return plan.open_store(), open_blobs(request.objects_url), client


def dimensions_of(plan: JobPlan) -> int:
    """Return the length of the encoder's vectors."""
    if plan.dataset.embedding.engine == "scripted":
        return SCRIPTED_DIMENSIONS
    config = plan.model_dir / "config.json"
    if not config.exists():
        raise ConfigError(f"{plan.model_dir}: no config.json; this is no encoder's directory")
    return int(json.loads(config.read_text("utf-8"))["hidden_size"])


def model_print(plan: JobPlan) -> str:
    """Identify the encoder by its configuration and the size of its weights, since hashing them would take too long."""
    config = plan.model_dir / "config.json"
    sizes = sorted((p.name, p.stat().st_size) for p in plan.model_dir.glob("*.safetensors"))
    return f"{config.read_text('utf-8') if config.exists() else ''}{sizes}"


def add_store_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that locate everything, which are the same for all commands of the jobs."""
    parser.add_argument("--milvus", required=True, help="URI of the Milvus server")
    parser.add_argument("--alias", default="knowledge", help="alias of the live version")
    parser.add_argument("--model-dir", type=Path, required=True, help="directory of the sentence encoder")
    parser.add_argument("--tenant", default=DEFAULT_TENANT, help="tenant of the data, unless the dataset names one")
    parser.add_argument("--token-env", default="", help="name of the variable that holds the Milvus token")
    parser.add_argument("--objects", default="", help="object store for reports and undo files: s3://... or a folder")
    parser.add_argument("--bulk", default="", help="object storage that Milvus imports from: s3://BUCKET/ROOT")
    parser.add_argument("--redis", default="", help="URL of the Redis with the change log and the locks")
    parser.add_argument("--redis-password-env", default="", help="name of the variable that holds Redis's password")


def request_of(parsed: argparse.Namespace) -> ReindexRequest:
    """Return the request given by the options of `add_store_arguments`, with this folder as its source."""
    return ReindexRequest(
        source=Path(),
        milvus_uri=parsed.milvus,
        alias=parsed.alias,
        model_dir=parsed.model_dir.resolve(),
        tenant=parsed.tenant,
        token_env=parsed.token_env,
        objects_url=parsed.objects,
        redis_url=parsed.redis,
        bulk_url=parsed.bulk,
        redis_password_env=parsed.redis_password_env,
    )


def with_collection(plan: JobPlan, collection: str, *, lookup: bool) -> JobPlan:
    """Return the plan for one pass over the sources."""
    return replace(plan, collection=collection, lookup=lookup)
