"""The quality gate that a new version must pass to go live, and an edited one to stay.

It measures the version itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from deployments.engines.milvus.schema import DENSE, SENTENCES, unpack_vectors
from deployments.engines.milvus.versions import VersionStore
from ingest_jobs.knowledge.read.dataset import QualityGate
from ingest_jobs.knowledge.run.journal import Journal
from ingest_jobs.knowledge.run.pipeline import Encoder
from pipelines.errors import ConfigError, VoxrayError

_PROBE_TOP = 5


_SHOWN = 5


class GateFailed(VoxrayError):
    """A new version is worse than allowed, or too much was set aside. The live version stays."""


def check_quality(
    gate: QualityGate,
    store: VersionStore,
    versions: tuple[str, str | None],
    journal: Journal,
    *,
    tenant: str,
    encoder: Callable[[], Encoder],
) -> dict[str, float]:
    """Compare a sealed version with the live one, and return the measurements.

    Args:
        gate: the bounds.
        store: the store that holds both.
        versions: the new version and the live one, which is None before the first.
        journal: knows which documents of the live version the sources still have.
        tenant: whose rows count.
        encoder: loads the encoder; only called for golden questions.

    Raises:
        GateFailed: a bound is broken. The message names it with both figures.
    """
    new, live = versions
    rows = store.rows.count(new, tenant)
    found: dict[str, float] = {"rows": rows}
    if live is not None and (before := store.rows.count(live, tenant)):
        found["rows_before"] = before
        _demand("rows beside those of the live version", rows / before, gate, "min_row_share")
        if gate.probes and store.rows.has_ledger(live):
            recall, probes, lost = probe_recall(store, new, live, journal, tenant=tenant, limit=gate.probes)
            found |= {"probes": probes, "probe_recall": round(recall, 4)}
            _demand("recall of probes of the live version", recall, gate, "min_probe_recall", lost)
    if gate.golden:
        found["golden_recall"] = _golden(gate, store, new, tenant, encoder())
    return found


@dataclass(frozen=True, slots=True)
class Probe:
    """A vector to search for, and the documents that must be among the nearest, as sources by hash of id."""

    vector: list[float]
    docs: dict[str, str]


def check_edit(
    gate: QualityGate,
    store: VersionStore,
    live: str,
    probes: Sequence[Probe],
    *,
    tenant: str,
    encoder: Callable[[], Encoder],
) -> dict[str, float]:
    """Check whether an edited version still answers what it answered before, and return the measurements.

    Args:
        gate: the bounds.
        store: the store that holds the version.
        live: name of the version.
        probes: the probes that `probes_of_unchanged` took before the edit.
        tenant: whose rows count.
        encoder: loads the encoder; only called for golden questions.

    Raises:
        GateFailed: a bound is broken.
    """
    found: dict[str, float] = {}
    if probes:
        recall, lost = _recall(store, live, tenant, probes)
        found = {"probes": len(probes), "probe_recall": round(recall, 4)}
        _demand("recall of probes after the edit", recall, gate, "min_probe_recall", lost)
    if gate.golden:
        found["golden_recall"] = _golden(gate, store, live, tenant, encoder())
    return found


def check_removals(gate: QualityGate, documents: int, before: int) -> None:
    """Raise `GateFailed` if an edit would leave fewer documents than allowed."""
    if before:
        _demand("documents beside those of the live version", documents / before, gate, "min_row_share")


def probes_of_unchanged(store: VersionStore, live: str, journal: Journal, *, tenant: str, limit: int) -> list[Probe]:
    """Return probes of a live version before it is edited, for documents that the edit does not change."""
    docs = journal.some_live(limit)
    rows = store.rows.of_documents(live, tenant, docs, ["doc", SENTENCES, DENSE])
    vectors = {row["doc"]: _probe_vector(row) for row in rows}
    return _answered(store, live, journal, list(vectors.values()), tenant=tenant)


def probe_recall(
    store: VersionStore, new: str, live: str, journal: Journal, *, tenant: str, limit: int
) -> tuple[float, int, list[str]]:
    """Search both versions for the same things. Returns the share found again, the number of probes, and what is lost.

    A probe is the vector of one sentence in a live passage, which is closer to a question than the passage's own
    vector. Documents that the sources no longer have or that have changed are not the version's fault and do not count.
    """
    vectors = list(_probe_vectors(store, live, tenant, limit))
    probes = _answered(store, live, journal, vectors, tenant=tenant)
    recall, lost = _recall(store, new, tenant, probes)
    return recall, len(probes), lost


def _answered(
    store: VersionStore, live: str, journal: Journal, vectors: list[list[float]], *, tenant: str
) -> list[Probe]:
    """Return probes made of vectors and, for each, the nearest documents that are unchanged in the sources.

    A vector without any such document is skipped.
    """

    def is_unchanged(hit: dict[str, Any]) -> bool:
        return bool(hit["doc_hash"].partition("/")[0] == journal.seen_hash(hit["doc"]))

    answers = store.rows.nearest(live, tenant, vectors, _PROBE_TOP)
    probes = [
        Probe(vector, {hit["doc"]: hit["source"] for hit in hits if is_unchanged(hit)})
        for vector, hits in zip(vectors, answers, strict=True)
    ]
    return [probe for probe in probes if probe.docs]


def _recall(store: VersionStore, version: str, tenant: str, probes: Sequence[Probe]) -> tuple[float, list[str]]:
    """Return the share of the probes' documents that a version finds (1.0 without probes), and the other sources."""
    wanted = 0
    lost: list[str] = []
    # New documents may rank in between, so the old ones need not stay at the very top.
    answers = store.rows.nearest(version, tenant, [probe.vector for probe in probes], 2 * _PROBE_TOP)
    for probe, hits in zip(probes, answers, strict=True):
        wanted += len(probe.docs)
        kept = {hit["doc"] for hit in hits}
        lost += [source for doc, source in probe.docs.items() if doc not in kept]
    return (1 - len(lost) / wanted if wanted else 1.0), lost


def _golden(gate: QualityGate, store: VersionStore, version: str, tenant: str, encoder: Encoder) -> float:
    """Return the share of golden questions whose source is among the nearest passages. Refuses too small a share."""
    questions = _golden_questions(Path(gate.golden))
    vectors = encoder.encode([str(item["question"]) for item in questions])
    answers = store.rows.nearest(version, tenant, vectors.tolist(), gate.golden_top)
    lost = [
        f"{item['source']} for the question {item['question']!r}"
        for item, hits in zip(questions, answers, strict=True)
        if all(hit["source"] != item["source"] for hit in hits)
    ]
    recall = 1 - len(lost) / len(questions)
    _demand("recall of the golden questions", recall, gate, "min_golden_recall", lost)
    return round(recall, 4)


def _probe_vectors(store: VersionStore, live: str, tenant: str, limit: int) -> Iterator[list[float]]:
    total = store.rows.count(live, tenant)
    step = max(1, total // limit)
    rows = store.rows.scan(live, tenant, [SENTENCES, DENSE])
    for row in islice(rows, 0, step * limit, step):
        yield _probe_vector(row)


def _probe_vector(row: dict[str, Any]) -> list[float]:
    dimensions = len(row[DENSE])
    sentences = unpack_vectors(row[SENTENCES], dimensions) if row[SENTENCES] else np.empty((0, dimensions))
    vector: list[float] = (sentences[-1] if len(sentences) else np.asarray(row[DENSE])).tolist()
    return vector


def _golden_questions(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        questions = [line for line in lines if line["question"] and line["source"]]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f'{path}: golden questions are lines of {{"question": ..., "source": ...}}') from error
    if not questions:
        raise ConfigError(f"{path}: holds no golden questions")
    return questions


def _demand(what: str, found: float, gate: QualityGate, key: str, lost: Sequence[str] = ()) -> None:
    least: float = getattr(gate, key)
    if found >= least:
        return
    named = list(dict.fromkeys(lost))
    shown = [f"  - not found: {name}" for name in named[:_SHOWN]]
    shown += [f"  - and {len(named) - _SHOWN} more"] if len(named) > _SHOWN else []
    said = f"quality gate: {what}: {found:.2f}, at least {least:.2f} required; the live version stays"
    fix = f"If the data is meant to be so, lower quality.{key} in the dataset's description, and run the job again."
    raise GateFailed("\n".join([said, *shown, fix]))
