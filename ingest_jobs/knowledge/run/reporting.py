"""What a job reports: progress while it runs, and a report that is kept."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ingest_jobs.knowledge.store.blobs import Blobs, put_json
from ingest_jobs.knowledge.store.rows import DOCUMENT, ERASED, EXPIRED, KEPT, OVERRIDDEN, REFUSED, UNIT, WRITTEN, Row

PROGRESS_MARK = "@progress "
REPORTS = "ingest/reports/"
_MAX_REASONS = 200
_SAY_EVERY_S = 1.0

Say = Callable[[str], None]
ShowProgress = Callable[["Progress"], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of a job. A `documents_expected` of 0 and a negative `left_s` mean unknown."""

    phase: str
    documents: int = 0
    documents_expected: int = 0
    chunks: int = 0
    embedded: int = 0
    chunks_a_s: float = 0.0
    left_s: float = -1.0

    def line(self) -> str:
        """Return the progress as a line that `voxray ingest` reads from a job's log."""
        return PROGRESS_MARK + json.dumps(asdict(self))


@dataclass(slots=True)
class Report:
    """How a job went.

    Points in time are in seconds since 1970, durations in seconds; counts are of documents, chunks or values.

    Attributes:
        mode: "full", "incremental" or "unchanged".
        state: "running", "done" or "failed".
        units: number of files, pages and queries that were read.
        embedded_a_s: chunks embedded and written per second, from the first batch to the last.
        imported: rows that Milvus imported in bulk.
        expected_rows: the estimate by which the index of a new version was chosen, without other tenants' rows.
        kept: chunks that an earlier, interrupted run had written.
        refusals: the first reasons for setting something aside; `refused` counts all.
        gate: measurements of the quality gate.
    """

    job: str
    dataset: str
    tenant: str
    alias: str
    mode: str = ""
    state: str = "running"
    started_at_s: float = 0.0
    elapsed_s: float = 0.0
    units: int = 0
    documents: int = 0
    changed: int = 0
    removed: int = 0
    expired: int = 0
    erased: int = 0
    overridden: int = 0
    duplicates: int = 0
    masked_values: int = 0
    refused: int = 0
    refusals: list[str] = field(default_factory=list)
    chunks: int = 0
    embedded: int = 0
    embedded_a_s: float = 0.0
    kept: int = 0
    imported: int = 0
    expected_rows: int = 0
    replayed_changes: int = 0
    set_aside_changes: int = 0
    resumed: bool = False
    collection: str = ""
    previous: str = ""
    gate: dict[str, float] = field(default_factory=dict)
    stages_s: dict[str, float] = field(default_factory=dict)
    error: str = ""

    def refused_share(self) -> float:
        """Return the share of what was read that was set aside."""
        total = self.documents + self.refused
        return self.refused / total if total else 0.0


class Reporter:
    """Counts outcomes in a report, and reports progress at most once a second."""

    def __init__(self, report: Report, blobs: Blobs, show: ShowProgress) -> None:
        self.report = report
        self.units_expected = 0
        self.documents_expected = 0
        self._blobs = blobs
        self._show = show
        self._started_s = time.monotonic()
        self._phase, self._phase_started_s = "", self._started_s
        self._told_s = 0.0
        self._first_written_s, self._first_written = 0.0, 0

    def phase(self, name: str) -> None:
        """Record the phase that the job enters."""
        now_s = time.monotonic()
        if self._phase:
            spent_s = self.report.stages_s.get(self._phase, 0.0) + now_s - self._phase_started_s
            self.report.stages_s[self._phase] = round(spent_s, 3)
        self._phase, self._phase_started_s = name, now_s
        self._tell(now_s)

    def tell_import(self, percent: int) -> None:
        """Report how far Milvus is with an import."""
        self._phase = f"importing {percent}%"
        self._tell(time.monotonic())

    def restart(self) -> None:
        """Reset the counts of a comparison, because the sources are read again from the start."""
        old = self.report
        named = (old.job, old.dataset, old.tenant, old.alias)
        kept = {"started_at_s": old.started_at_s, "stages_s": old.stages_s}
        self.report = Report(*named, **kept)  # type: ignore[arg-type]  # the two have the types of their fields

    def count(self, outcomes: Iterable[Row]) -> None:
        """Count a batch of outcomes."""
        report = self.report
        kinds: Counter[str] = Counter()
        for row in outcomes:
            kinds[row["kind"]] += 1
            if row["kind"] == DOCUMENT:
                report.masked_values += int(row["note"])
            elif row["kind"] == REFUSED:
                self.refuse(str(row["note"]))
        report.units += kinds[UNIT]
        report.documents += kinds[DOCUMENT]
        report.embedded += kinds[WRITTEN]
        report.kept += kinds[KEPT]
        report.chunks += kinds[WRITTEN] + kinds[KEPT]
        self._measure(kinds[WRITTEN])
        report.expired += kinds[EXPIRED]
        report.erased += kinds[ERASED]
        report.overridden += kinds[OVERRIDDEN]
        if time.monotonic() - self._told_s >= _SAY_EVERY_S:
            self._tell(time.monotonic())

    def _measure(self, written: int) -> None:
        now_s = time.monotonic()
        if written and not self._first_written_s:
            self._first_written_s, self._first_written = now_s, self.report.embedded
        elif written:
            since = self.report.embedded - self._first_written
            self.report.embedded_a_s = round(since / max(1e-6, now_s - self._first_written_s), 1)

    def refuse(self, reason: str) -> None:
        """Count something that was set aside."""
        self.report.refused += 1
        if len(self.report.refusals) < _MAX_REASONS:
            self.report.refusals.append(reason)

    def save(self, state: str, error: str = "") -> None:
        """Write the report to the object store."""
        report = self.report
        self.phase("")
        report.state, report.error = state, error
        report.elapsed_s = round(time.monotonic() - self._started_s, 3)
        put_json(self._blobs, f"{REPORTS}{report.tenant}/{report.job}.json", asdict(report))

    def _tell(self, now_s: float) -> None:
        self._told_s = now_s
        report = self.report
        spent_s = max(1e-6, now_s - self._phase_started_s)
        expected = self.documents_expected
        if report.units and self.units_expected > report.units:
            expected = round(report.documents * self.units_expected / report.units)
        done = report.documents + report.refused
        left_s = spent_s * (expected - done) / done if done and expected >= done else -1.0
        rate = report.embedded / spent_s
        counts = (report.documents, expected, report.chunks, report.embedded)
        self._show(Progress(self._phase, *counts, round(rate, 1), round(left_s, 1)))


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as plain data."""
    return asdict(report)
