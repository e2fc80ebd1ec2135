"""A full run: builds a new version beside the live one, checks it, and switches to it in one step.

    begin ── read, embed, write ── verify ─┬─ carry live updates over ── seal ── gate ── replay ── switch ── prune
      ▲             ▲                      │
      │             └── chunks are missing ┘            a killed job's version is taken up again at "begin"

The journal holds every key that the sources gave in this run and is compared with the collection. Whatever a crash of a
worker, the driver or the store has lost or left over is thus detected instead of remembered.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from deployments.engines.milvus.expressions import about_subject, from_origin, not_from_origin
from deployments.engines.milvus.fields import lay_out_fields
from deployments.engines.milvus.versions import Building, HistoryEntry, VersionStore
from ingest_jobs.knowledge.read.sizing import expected_rows
from ingest_jobs.knowledge.read.sources import all_units
from ingest_jobs.knowledge.read.stages import FROM_SOURCE
from ingest_jobs.knowledge.run.bulk import import_staged, is_bulk
from ingest_jobs.knowledge.run.job import Job, dimensions_of, with_collection
from ingest_jobs.knowledge.run.journal import Journal
from ingest_jobs.knowledge.run.pipeline import JobPlan, now_s, patiently
from ingest_jobs.knowledge.run.quality import GateFailed, check_quality
from ingest_jobs.knowledge.store.records import erased_subjects
from ingest_jobs.knowledge.store.rows import DOCUMENT, KEPT, WRITTEN
from ingest_jobs.knowledge.store.staging import STAGED, forget_staged, staged_prefix
from pipelines.errors import Component, ConfigError, EngineError

_MAX_PASSES = 4
_COPY_DOCS = 200


def run_full(job: Job, journal: Journal) -> None:
    """Build a version and make it live.

    Raises:
        GateFailed: the version is not good enough. If it was sealed it is kept for inspection, and the next run resumes
            it.
        ConfigError: the sources cannot be read or are empty. The version is dropped.
        EngineError: a store failed. The version is kept, and the next run resumes it.
    """
    report = job.reporter.report
    report.mode = "full"
    live = job.store.live_collection()
    collection, building, is_resumed = _begin(job)
    report.collection, report.previous, report.resumed = collection, live or "", is_resumed
    try:
        _build(job, journal, collection, is_resumed)
        job.check_refusals()
        if journal.wanted_count() == 0:
            raise ConfigError(f"{job.request.source}: the sources hold no text")
        job.reporter.phase("checking")
        _carry_live_documents(job, journal, live, collection)
        job.store.seal(collection, job.tenant)
    except (GateFailed, ConfigError):
        with suppress(EngineError):
            job.store.drop_collection(collection)
        raise
    _check(job, journal, (collection, live))
    job.reporter.phase("switching")
    _go_live(job, collection, live, building)
    job.store.prune()


def _check(job: Job, journal: Journal, versions: tuple[str, str | None]) -> None:
    gate = job.dataset.quality
    try:
        found = check_quality(gate, job.store, versions, journal, tenant=job.tenant, encoder=job.encoder)
    except GateFailed as error:
        look = f'voxray retrieve "a question" --version {versions[0]}'
        raise GateFailed(f"{error}\nThat run takes up what was built. Until then it can be looked at: {look}") from None
    job.reporter.report.gate = found


def _begin(job: Job) -> tuple[str, Building, bool]:
    """Resume an unfinished version with the same description or begin a new one, and drop the tenant's other ones."""
    wanted = job.content_print()
    forget_staged(job.blobs, f"{STAGED}{job.plan.alias}/")  # left by killed jobs, since this is the only running one
    taken: tuple[str, Building] | None = None
    for name, building in sorted(job.store.unfinished().items(), reverse=True):
        is_same = building.tenant == job.tenant and building.content_print == wanted and not job.request.is_forced
        if is_same and taken is None:
            taken = name, building
        elif building.tenant == job.tenant:
            job.store.drop_collection(name)
    if taken is not None:
        job.store.load(taken[0])
        return *taken, True
    change_id = log.applied() if (log := job.changes) is not None else ""
    building = Building(job.tenant, wanted, job.reporter.report.job, now_s(), change_id)
    rows = job.reporter.report.expected_rows = expected_rows(job.dataset)
    fields = lay_out_fields(job.dataset.fields)
    name = job.store.begin(building, dimensions_of(job.plan), expected_rows=rows, fields=fields)
    return name, building, False


def _build(job: Job, journal: Journal, collection: str, is_resumed: bool) -> None:
    """Run the stages until the collection holds exactly what the sources give."""
    is_imported = is_bulk(job, is_resumed=is_resumed)
    for number in range(_MAX_PASSES):
        job.reporter.phase("embedding" if number == 0 else "completing")
        plan = with_collection(job.plan, collection, lookup=is_resumed or number > 0)
        if is_imported and number == 0:
            staged_as = staged_prefix(job.plan.alias, job.reporter.report.job)
            plan = replace(plan, staging=job.request.objects_url, staged_as=staged_as)
        _run_pass(job, journal, plan, is_first=number == 0)
        if plan.staged_as:
            job.reporter.phase("importing")
            import_staged(job, journal, collection)
        job.reporter.phase("verifying")
        if patiently(lambda: _compare(job.store, journal, collection, job.tenant)) == 0:
            surplus = journal.surplus()
            job.store.rows.delete_keys(collection, job.tenant, surplus)
            return
    raise EngineError(
        Component.INGEST, f"the store still lacks {journal.missing()} chunks after several tries", retryable=True
    )


def _run_pass(job: Job, journal: Journal, plan: JobPlan, *, is_first: bool) -> None:
    for outcomes in job.run_stages(plan, all_units(job.dataset)):
        journal.want((row["key"], row["chunk_hash"]) for row in outcomes if row["kind"] in {WRITTEN, KEPT})
        if is_first:
            for row in outcomes:
                if row["kind"] == DOCUMENT and not journal.see(row["doc"], row["chunk_hash"]):
                    job.reporter.report.duplicates += 1
            job.reporter.count(outcomes)
        else:
            job.reporter.report.embedded += sum(row["kind"] == WRITTEN for row in outcomes)


def _compare(store: VersionStore, journal: Journal, collection: str, tenant: str) -> int:
    store.load(collection)
    rows = store.rows.scan(collection, tenant, ["pk", "chunk_hash"], from_origin(FROM_SOURCE))
    journal.find((row["pk"], row["chunk_hash"]) for row in rows)
    return journal.missing()


def _carry_live_documents(job: Job, journal: Journal, live: str | None, collection: str) -> None:
    """Copy the documents that live updates wrote and no source has replaced."""
    if live is None or not job.store.rows.has_ledger(live):
        return
    rows = job.store.rows
    docs = {row["doc"] for row in rows.scan(live, job.tenant, ["doc"], not_from_origin(FROM_SOURCE))}
    wanted = sorted(doc for doc in docs if doc and journal.seen_hash(doc) is None)
    for start in range(0, len(wanted), _COPY_DOCS):
        rows.write(collection, list(rows.of_documents(live, job.tenant, wanted[start : start + _COPY_DOCS])))


def _go_live(job: Job, collection: str, live: str | None, building: Building) -> None:
    # Most changes are replayed while the follower may still work. The rest and the switch follow while it may not.
    position = job.replay(collection, building.change_id or "0-0")
    with job.switching():
        job.replay(collection, position)
        for tenant, subjects in erased_subjects(job.blobs).items():
            for subject in subjects:
                job.store.rows.delete(collection, tenant, about_subject(subject))
        # A version without rows of the tenant is no rollback target, since callers would be told that nothing is known.
        previous = live if live and job.store.rows.count(live, job.tenant) else ""
        entry = HistoryEntry("full", job.reporter.report.job, now_s(), previous=previous)
        job.store.set_history(collection, job.tenant, [entry])
        if job.reporter.report.replayed_changes:
            job.store.seal(collection, job.tenant)
        job.store.switch(collection)
