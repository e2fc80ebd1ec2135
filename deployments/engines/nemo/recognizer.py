"""Assembles the parts of a streaming recogniser from a NeMo model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployments.engines.nemo import NemoSettings
from deployments.engines.nemo.beam import BeamCtcDecoder
from deployments.engines.nemo.boosting import NO_PHRASES, PhraseBook, new_trees, number_of, phrase_tree
from deployments.engines.nemo.decoding import CtcDecoder, FrameDecoder, RnntDecoder
from deployments.engines.nemo.model import StreamingModel, load_model
from deployments.engines.nemo.ngrams import Blend, NGramScores, load_ngrams
from deployments.engines.nemo.prefix_beam import BeamHabits, PrefixBeam
from deployments.engines.nemo.stepper import NemoStepper, StepperLimits
from deployments.engines.streaming.loop import LoopLimits, StreamLoop
from pipelines.errors import Component, EngineError

# Number of streams to allocate caches for when `max_streams` is 0. The warm-up measures how many are admitted.
DEFAULT_SLOTS = 64


def open_nemo_recognizer(model_path: Path, settings: NemoSettings) -> StreamLoop:
    """Load a `.nemo` file in a separate thread and return the recogniser, not yet warmed up. Blocks for a minute.

    Raises:
        EngineError: the file does not exist, is not a cache-aware model, or does not suit these settings.
    """
    return StreamLoop(lambda: make_stepper(model_path, settings), LoopLimits(max_streams=settings.max_streams))


def make_stepper(
    model_path: Path, settings: NemoSettings, limits: StepperLimits | None = None, beam: BeamHabits | None = None
) -> NemoStepper:
    """Load a model for the calling thread.

    Args:
        model_path: the `.nemo` file.
        settings: how the model is run.
        limits: bounds of the stepper; None uses those of a replica.
        beam: how wide a search with a language model is, with the weight from the settings; None uses a replica's.
    """
    model = load_model(
        model_path,
        chunk_ms=settings.chunk_ms,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads,
    )
    chosen = limits or StepperLimits(
        slots=settings.max_streams or DEFAULT_SLOTS, end_silence_ms=settings.end_silence_ms
    )
    habits = replace(beam or BeamHabits(), weight=settings.language_weight)
    decoder, phrases_of = _decoder(model, settings, settings.language_model_file(model_path), habits)
    return NemoStepper(model, decoder, chosen, phrases_of)


def _decoder(
    model: StreamingModel, settings: NemoSettings, language_model: Path | None, habits: BeamHabits
) -> tuple[FrameDecoder, Callable[[str], int]]:
    """Return the decoder, and a function from a tenant to the number of its phrases."""
    network = model.network
    has_rnnt = hasattr(network, "joint")
    has_ctc = hasattr(network, "ctc_decoder") or not has_rnnt
    kind = settings.decoder if settings.decoder != "auto" else ("rnnt" if has_rnnt else "ctc")
    if not (has_rnnt if kind == "rnnt" else has_ctc):
        raise EngineError(
            Component.TRANSCRIBER, f"the model has no {kind} decoder; change the setting decoder", retryable=False
        )
    if language_model is not None:
        if kind == "rnnt":
            raise EngineError(Component.TRANSCRIBER, "a language model needs the ctc decoder", retryable=False)
        return _beam_decoder(network, settings, language_model, habits)
    phrases = phrases_by_tenant(settings)
    has_phrases = any(phrases.values())
    decoder: FrameDecoder
    if kind == "rnnt":
        decoder = rnnt = RnntDecoder(network, has_phrases=has_phrases)
        trees = rnnt.trees
    else:
        trees = new_trees(network.tokenizer.vocab_size, model.device) if has_phrases else None
        decoder = CtcDecoder(network, trees)
    if not has_phrases:
        return decoder, lambda _: NO_PHRASES
    book = PhraseBook(phrases, settings.phrase_weight, tokenizer=network.tokenizer, trees=trees)
    return decoder, book.number_of


def phrases_by_tenant(settings: NemoSettings) -> dict[str, tuple[str, ...]]:
    """Return the names and words to expect, by tenant. Those of "" apply to tenants that have none."""
    return {entry.tenant: entry.phrases for entry in settings.phrases}


def _beam_decoder(
    network: Any, settings: NemoSettings, language_model: Path, habits: BeamHabits
) -> tuple[FrameDecoder, Callable[[str], int]]:
    pieces = network.tokenizer.vocab_size
    language = NGramScores(load_ngrams(language_model, pieces), habits.weight)
    beams = {NO_PHRASES: PrefixBeam(language, pieces, habits)}
    numbers: dict[str, int] = {}
    for number, (tenant, phrases) in enumerate(each for each in phrases_by_tenant(settings).items() if each[1]):
        wanted = NGramScores(phrase_tree(phrases, network.tokenizer), settings.phrase_weight)
        beams[number] = PrefixBeam(Blend([language, wanted]), pieces, habits)
        numbers[tenant] = number
    return BeamCtcDecoder(network, beams), lambda tenant: number_of(tenant, numbers)
