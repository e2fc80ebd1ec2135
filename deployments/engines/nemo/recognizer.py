"""A NeMo model as a streaming recogniser: the parts put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from deployments.engines.nemo.beam import BeamCtcDecoder
from deployments.engines.nemo.boosting import NO_PHRASES, PhraseBook, new_trees, number_of, phrase_tree
from deployments.engines.nemo.decoding import CtcDecoder, FrameDecoder, RnntDecoder
from deployments.engines.nemo.model import StreamingModel, load_model
from deployments.engines.nemo.ngrams import Blend, NGramScores, load_ngrams
from deployments.engines.nemo.prefix_beam import BeamHabits, PrefixBeam
from deployments.engines.nemo.stepper import NemoStepper, StepperLimits
from deployments.engines.streaming.loop import LoopLimits, StreamLoop
from pipelines.errors import Component, EngineError


@dataclass(frozen=True, slots=True)
class NemoSettings:
    """How a model is run.

    Attributes:
        chunk_ms: 80, 160, 560 or 1120 for models with 80 ms frames and right contexts of 0, 1, 6 and 13: the longer,
            the fewer errors and the later the words.
        decoder: of a hybrid model; "auto" takes RNN-T where there is one.
        device: "cpu", "cuda", "cuda:1", ..., or "auto".
        dtype: "float32", "bfloat16", or "auto": bfloat16 where the GPU computes in it.
        threads: of a step on a CPU.
        phrases: names and words to expect, by tenant; those of "" hold for tenants that have none.
        phrase_weight: how much a piece of an expected phrase is preferred, in natural log; 0 to 5.
        language_model: n-gram model of the recogniser's word pieces (.arpa or NeMo's format); None: CTC takes the
            likeliest piece of each frame.
        beam: how texts are searched with a language model.
        stepper: slots, batch, silence, digits.
        loop: admission, waiting, health.
    """

    chunk_ms: int = 160
    decoder: Literal["auto", "ctc", "rnnt"] = "auto"
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = 1
    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    phrase_weight: float = 1.0
    language_model: Path | None = None
    beam: BeamHabits = field(default_factory=BeamHabits)
    stepper: StepperLimits = field(default_factory=StepperLimits)
    loop: LoopLimits = field(default_factory=LoopLimits)


def open_nemo_recognizer(model_path: Path, *, settings: NemoSettings | None = None) -> StreamLoop:
    """Load a `.nemo` file in a thread of its own and return the recogniser; not warmed up yet. Blocks for a minute.

    Raises:
        EngineError: there is no such file, it is no cache-aware model, or not one for these settings.
    """
    chosen = settings or NemoSettings()
    return StreamLoop(lambda: make_stepper(model_path, chosen), chosen.loop)


def make_stepper(model_path: Path, settings: NemoSettings) -> NemoStepper:
    """Load a model for the calling thread."""
    model = load_model(
        model_path,
        chunk_ms=settings.chunk_ms,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads,
    )
    decoder, phrases_of = _decoder(model, settings)
    return NemoStepper(model, decoder, settings.stepper, phrases_of)


def _decoder(model: StreamingModel, settings: NemoSettings) -> tuple[FrameDecoder, Callable[[str], int]]:
    """Return the decoder, and the number of a tenant's phrases in it."""
    network = model.network
    has_rnnt = hasattr(network, "joint")
    has_ctc = hasattr(network, "ctc_decoder") or not has_rnnt
    kind = settings.decoder if settings.decoder != "auto" else ("rnnt" if has_rnnt else "ctc")
    if not (has_rnnt if kind == "rnnt" else has_ctc):
        raise EngineError(Component.TRANSCRIBER, f"the model has no {kind} decoder", retryable=False)
    if settings.language_model is not None:
        if kind == "rnnt":
            raise EngineError(Component.TRANSCRIBER, "a language model needs the ctc decoder", retryable=False)
        return _beam_decoder(network, settings, settings.language_model)
    has_phrases = any(settings.phrases.values())
    decoder: FrameDecoder
    if kind == "rnnt":
        decoder = rnnt = RnntDecoder(network, has_phrases=has_phrases)
        trees = rnnt.trees
    else:
        trees = new_trees(network.tokenizer.vocab_size, model.device) if has_phrases else None
        decoder = CtcDecoder(network, trees)
    if not has_phrases:
        return decoder, lambda _: NO_PHRASES
    book = PhraseBook(settings.phrases, settings.phrase_weight, tokenizer=network.tokenizer, trees=trees)
    return decoder, book.number_of


def _beam_decoder(
    network: Any, settings: NemoSettings, language_model: Path
) -> tuple[FrameDecoder, Callable[[str], int]]:
    pieces = network.tokenizer.vocab_size
    language = NGramScores(load_ngrams(language_model, pieces), settings.beam.weight)
    beams = {NO_PHRASES: PrefixBeam(language, pieces, settings.beam)}
    numbers: dict[str, int] = {}
    for number, (tenant, phrases) in enumerate(each for each in settings.phrases.items() if each[1]):
        wanted = NGramScores(phrase_tree(phrases, network.tokenizer), settings.phrase_weight)
        beams[number] = PrefixBeam(Blend([language, wanted]), pieces, settings.beam)
        numbers[tenant] = number
    return BeamCtcDecoder(network, beams), lambda tenant: number_of(tenant, numbers)
