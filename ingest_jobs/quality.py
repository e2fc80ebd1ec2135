"""What a new version must show before it goes live. Measured on the version itself, by its own name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from deployments.engines.milvus_store import DENSE, SENTENCES, unpack_vectors
from deployments.engines.milvus_versions import VersionStore
from ingest_jobs.dataset import QualityGate
from ingest_jobs.journal import Journal
from ingest_jobs.pipeline import Encoder
from pipelines.errors import ConfigError, VoxrayError

_PROBE_TOP = 5


class GateFailed(VoxrayError):
    """A new version is worse than allowed, or too much was set aside; the live one stays."""


def check_quality(
    gate: QualityGate,
    store: VersionStore,
    versions: tuple[str, str | None],
    journal: Journal,
    *,
    tenant: str,
    encoder: Callable[[], Encoder],
) -> dict[str, float]:
    """Compare a sealed version with the live one; return what was measured.

    Args:
        gate: the bounds.
        store: where both are.
        versions: the new one, and the live one (None before the first).
        journal: knows which documents of the live version the sources still have.
        tenant: whose rows count.
        encoder: loads the encoder; only called for golden questions.

    Raises:
        GateFailed: a bound is broken; the message names it with both figures.
    """
    new, live = versions
    rows = store.count(new, tenant)
    found: dict[str, float] = {"rows": rows}
    if live is not None and (before := store.count(live, tenant)):
        found["rows_before"] = before
        _demand("rows beside the live version", rows / before, gate.min_row_share)
        if gate.probes and store.has_ledger(live):
            recall, probes = probe_recall(store, new, live, journal, tenant=tenant, limit=gate.probes)
            found |= {"probes": probes, "probe_recall": round(recall, 4)}
            _demand("recall of probes of the live version", recall, gate.min_probe_recall)
    if gate.golden:
        found["golden_recall"] = round(golden_recall(gate, store, new, tenant, encoder()), 4)
        _demand("recall of the golden questions", found["golden_recall"], gate.min_golden_recall)
    return found


def probe_recall(
    store: VersionStore, new: str, live: str, journal: Journal, *, tenant: str, limit: int
) -> tuple[float, int]:
    """Ask both versions the same things, and return which share of the old answers the new one still finds.

    A probe is the vector of one sentence of a live passage: nearer to a question than the passage's own. Documents that
    the sources no longer have, or that say something else now, are no fault of the version's and do not count.
    """
    wanted = kept = probes = 0
    for vector in _probe_vectors(store, live, tenant, limit):
        hits = store.nearest(live, tenant, vector, _PROBE_TOP)
        old = {hit["doc"] for hit in hits if hit["doc_hash"].partition("/")[0] == journal.seen_hash(hit["doc"])}
        if not old:
            continue
        # New documents may come between: the old ones need not stay among the very first.
        now = {hit["doc"] for hit in store.nearest(new, tenant, vector, 2 * _PROBE_TOP)}
        probes, wanted, kept = probes + 1, wanted + len(old), kept + len(old & now)
    return (kept / wanted if wanted else 1.0), probes


def golden_recall(gate: QualityGate, store: VersionStore, new: str, tenant: str, encoder: Encoder) -> float:
    """Return the share of golden questions whose source is among the nearest passages."""
    questions = _golden_questions(Path(gate.golden))
    vectors = encoder.encode([str(item["question"]) for item in questions])
    hits = 0
    for item, vector in zip(questions, vectors, strict=True):
        found = store.nearest(new, tenant, vector.tolist(), gate.golden_top)
        hits += any(hit["source"] == item["source"] for hit in found)
    return hits / len(questions)


def _probe_vectors(store: VersionStore, live: str, tenant: str, limit: int) -> Iterator[list[float]]:
    total = store.count(live, tenant)
    step = max(1, total // limit)
    rows = store.scan(live, tenant, [SENTENCES, DENSE])
    for row in islice(rows, 0, step * limit, step):
        dimensions = len(row[DENSE])
        sentences = unpack_vectors(row[SENTENCES], dimensions) if row[SENTENCES] else np.empty((0, dimensions))
        yield (sentences[-1] if len(sentences) else np.asarray(row[DENSE])).tolist()


def _golden_questions(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        questions = [line for line in lines if line["question"] and line["source"]]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f'{path}: golden questions are lines of {{"question": ..., "source": ...}}') from error
    if not questions:
        raise ConfigError(f"{path}: holds no golden questions")
    return questions


def _demand(what: str, found: float, least: float) -> None:
    if found < least:
        raise GateFailed(f"quality gate: {what}: {found:.2f}, at least {least:.2f} is demanded; the live version stays")
