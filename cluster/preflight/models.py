"""Checks whether weights, images and compiled engines can be available."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from cluster.catalog.catalog import names_used_by
from cluster.catalog.entries import HuggingFaceSource
from cluster.config.uses import model_uses
from cluster.preflight.finding import Finding, Inspection, Rule
from cluster.render.images import image_of
from cluster.render.placement import deployments_of
from pipelines.audio.pcm import PCM_16K
from pipelines.errors import Component

# A gRPC message between replicas holds 4 MiB, and an utterance is sent as a whole.
MESSAGE_BYTES = 4 * 1024 * 1024


def _models_are_known(inspection: Inspection) -> Iterator[Finding]:
    for name in names_used_by(inspection.config):
        if name not in inspection.catalog.entries:
            yield Finding(
                "unknown-model",
                f"no model of the catalog is called {name!r}",
                "no node can load it",
                "a name from `voxray models list`, or an entry in paths.catalog",
            )


def _models_do_what_they_are_for(inspection: Inspection) -> Iterator[Finding]:
    for path, model in model_uses(inspection.config):
        entry = inspection.catalog.entries.get(model.name)
        if entry is not None and entry.kind != model.kind:
            yield Finding(
                "wrong-kind",
                f"{'.'.join(path)} names {model.name}, whose kind is {entry.kind}",
                "the engine fails while it loads",
                f"a model of the kind {model.kind} (`voxray models list`)",
            )


def _recognizers_fit_their_engines(inspection: Inspection) -> Iterator[Finding]:
    for placed in deployments_of(inspection.config):
        if placed.component is not Component.TRANSCRIBER or placed.spec is None or not placed.spec.has_models:
            continue
        pool: Any = placed.pool
        entry = inspection.catalog.entries.get(pool.model)
        if entry is None or entry.kind != "recognition":
            continue
        if entry.is_streaming != placed.spec.is_streaming:
            other = "nemo" if entry.is_streaming else "whisper-ct2"
            yield Finding(
                "recognizer",
                f"{placed.key}.model {entry.name} is not for the engine {pool.engine}",
                "no replica of the recogniser starts",
                f"{placed.key}.engine: {other}, or a model of the other kind (`voxray models list`)",
            )
        elif entry.chunks_ms and placed.spec.is_streaming and pool.chunk_ms not in entry.chunks_ms:
            known = ", ".join(str(chunk_ms) for chunk_ms in entry.chunks_ms)
            yield Finding(
                "chunk",
                f"{placed.key}.chunk_ms is {pool.chunk_ms}, and {entry.name} was trained for {known}",
                "no replica of the recogniser starts, or it mishears",
                f"{placed.key}.chunk_ms: one of {known}",
            )


def _weights_can_be_had(inspection: Inspection) -> Iterator[Finding]:
    catalog = inspection.catalog
    for name in names_used_by(inspection.config):
        entry = catalog.entries.get(name)
        if entry is None or catalog.is_installed(name):
            continue
        if not catalog.is_pinned(name):
            yield Finding(
                "no-hash",
                f"{name} is not on this machine, and the catalog knows no hash of its files",
                "every node refuses to fetch it",
                f"`voxray models pin {name}` once, and its hashes in an entry of your own catalog (paths.catalog)",
            )
        elif inspection.is_on_nodes and isinstance(entry.source, HuggingFaceSource):
            yield Finding(
                "outside-source",
                f"{name} comes from Hugging Face, and nodes of a private network do not reach it",
                "no node can fetch it",
                "paths.mirror: s3://BUCKET/models, and `voxray models mirror` once on a machine that reaches both",
            )


def _compiled_engines_lie_where_nodes_look(inspection: Inspection) -> Iterator[Finding]:
    if not inspection.is_on_nodes:
        return
    for placed in deployments_of(inspection.config):
        if placed.spec is None or not placed.spec.needs_neuron:
            continue
        pool: Any = placed.pool
        if pool.artifacts_url and urlsplit(pool.artifacts_url).scheme != "s3":
            yield Finding(
                "artifacts",
                f"{placed.key}.artifacts_url is {pool.artifacts_url!r}, a folder of each node by itself",
                "no replica finds a compiled engine, and none starts",
                "s3://BUCKET/PREFIX, or empty: neuron/ of services.objects.url",
            )
        if pool.device != "neuron":
            yield Finding(
                "rehearsal",
                f"{placed.key}.device is {pool.device}, which is for rehearsals",
                "the Inferentia machines are paid for, and their CPUs do the work",
                f"{placed.key}.device: neuron",
            )


def _images_are_named(inspection: Inspection) -> Iterator[Finding]:
    for pool in inspection.config.topology.pools():
        image = image_of(inspection.config, pool)
        name, _, tag = image.rpartition(":")
        if not name.strip("/") or image.startswith("/") or not tag or "/" in tag or tag == "latest":
            yield Finding(
                "image",
                f"the image of the pool {pool} is {image!r}",
                "nodes run a different image than the tested one, or none",
                f"topology.image_repository and topology.image_tag (not latest), or topology.{pool}.image",
            )


def _utterances_fit_in_a_message(inspection: Inspection) -> Iterator[Finding]:
    engines = [placed.spec for placed in deployments_of(inspection.config) if placed.spec is not None]
    if all(spec.is_streaming for spec in engines if spec.component is Component.TRANSCRIBER):
        return
    longest_s = inspection.config.turn.max_utterance_s
    if longest_s * PCM_16K.bytes_per_s > MESSAGE_BYTES:
        yield Finding(
            "utterance",
            f"turn.max_utterance_s is {longest_s}, and a message between replicas holds "
            f"{MESSAGE_BYTES // PCM_16K.bytes_per_s} s of audio",
            "long utterances are never recognised",
            f"turn.max_utterance_s at most {MESSAGE_BYTES // PCM_16K.bytes_per_s}",
        )


RULES: tuple[Rule, ...] = (
    _models_are_known,
    _models_do_what_they_are_for,
    _recognizers_fit_their_engines,
    _weights_can_be_had,
    _compiled_engines_lie_where_nodes_look,
    _images_are_named,
    _utterances_fit_in_a_message,
)
