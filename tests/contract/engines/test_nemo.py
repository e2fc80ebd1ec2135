"""NeMo models in a stream: the same as in one pass, alone or in company."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deployments.engines.nemo.decoding import Decoded, FrameDecoder
from deployments.engines.nemo.stepper import StepperLimits
from deployments.engines.streaming.chunk_stepper import SlotAudio
from pipelines.errors import EngineError
from pipelines.hearing.link import CloseStream, FinishUtterance, OpenStream, PushAudio, StreamHeard
from tests.contract.engines import nemo_reference as reference
from tests.contract.engines.nemo_models import NemoModels

# NeMo's import takes 20 s and more on a busy machine, and warns of many things.
pytestmark = [pytest.mark.contract, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

# In 32 bits; log probabilities of random weights lie between -10 and -1.
TOLERANCE = 1e-4


@pytest.mark.parametrize("chunk_ms", [80, 160, 560, 1120])
def test_chunked_logits_equal_one_pass(nemo_models: NemoModels, chunk_ms: int) -> None:
    pcm = reference.noise(12.0)
    whole = reference.OnePass(nemo_models.ctc, chunk_ms).log_probs(pcm + bytes(32_000))
    chunked = reference.chunked_log_probs(reference.stepper_of(nemo_models.ctc, chunk_ms=chunk_ms), pcm)
    assert len(chunked) > 130
    assert (chunked - whole[: len(chunked)]).abs().max() < TOLERANCE


def test_bfloat16_is_near_float32(nemo_models: NemoModels) -> None:
    """The only precision that a CPU and a GPU share beside 32 bits: features stay in 32, the network is in 16."""
    pcm = reference.noise(4.0)
    exact, rounded = (
        reference.chunked_log_probs(reference.stepper_of(nemo_models.ctc, dtype=dtype), pcm)
        for dtype in ("float32", "bfloat16")
    )
    assert rounded.dtype != exact.dtype
    assert (rounded.float() - exact).abs().mean() < 0.2
    # Random weights leave labels that are nearly as likely as the best; which of them wins is chance on any processor.
    chosen = exact.gather(1, rounded.argmax(dim=1, keepdim=True)).squeeze(1)
    assert (exact.amax(dim=1) - chosen).max() < 0.5


@pytest.mark.parametrize(("model", "decoder"), [("ctc", "ctc"), ("hybrid", "rnnt"), ("hybrid", "ctc")])
def test_finishes_hear_what_one_pass_hears_with_silence_after_it(
    nemo_models: NemoModels, model: str, decoder: str
) -> None:
    path: Path = getattr(nemo_models, model)
    stepper = reference.stepper_of(path, decoder=decoder)
    one_pass = reference.OnePass(path, 160)
    schedule, ticks = reference.ticks_of(stepper)
    ticks.apply(1, [OpenStream(0)], 0)
    said = b""
    for turn, seconds in enumerate([0.03, 0.05, 0.7, 1.304, 0.9]):
        more = reference.noise(seconds, seed=turn)
        said += more
        ticks.apply(1, [PushAudio(0, more), FinishUtterance(0, turn)], 0)
        heard = reference.last_finish(reference.settle(schedule, ticks)[1], 0)
        frames = reference.frames_of_finish(stepper, said)
        words = one_pass.rnnt_words if decoder == "rnnt" else one_pass.ctc_words
        assert heard.text == " ".join(words(said + bytes(2 * 32_000), frames))
        assert heard.audio_ms == len(said) // 32
        assert [word.text for word in heard.words] == heard.text.split()
        times = [time for word in heard.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times) or decoder == "rnnt", "words of a frame of RNN-T share its time"
        assert all(0.0 <= word.confidence <= 1.0 for word in heard.words)
        assert times[-1] <= heard.audio_ms + reference.FLUSH_MS + 160 + 80


@pytest.mark.parametrize(("model", "seed"), [("ctc", 1), ("ctc", 2), ("hybrid", 3)])
def test_results_do_not_depend_on_who_shares_the_batch(nemo_models: NemoModels, model: str, seed: int) -> None:
    """Random joins, leaves, pushes and finishes of 12 streams; each hears what it hears alone."""
    rng = random.Random(seed)
    stepper = reference.stepper_of(getattr(nemo_models, model))
    schedule, ticks = reference.ticks_of(stepper)
    script = {stream: reference.noise(rng.uniform(0.2, 2.0), seed=stream) for stream in range(12)}
    waiting, live, told = list(script), {}, []
    while waiting or live:
        if waiting and len(live) < 6 and rng.random() < 0.5:
            stream = waiting.pop(0)
            live[stream] = script[stream]
            ticks.apply(1, [OpenStream(stream)], 0)
        for stream in rng.sample(sorted(live), rng.randint(0, len(live))):
            size = rng.choice([999, 3200, 5120, 9001])
            piece, live[stream] = live[stream][:size], live[stream][size:]
            ticks.apply(1, [PushAudio(stream, piece)], 0)
            if not live[stream]:
                ticks.apply(1, [FinishUtterance(stream, 0)], 0)
                del live[stream]
        if schedule.wait_ms(0) == 0:
            ticks.run(lambda: 0)
        told += ticks.take_results().get(1, [])
        done = {r.stream for r in told if isinstance(r, StreamHeard) and r.finish is not None}
        ticks.apply(1, [CloseStream(stream) for stream in done], 0)
    told += reference.settle(schedule, ticks).get(1, [])
    for stream, pcm in script.items():
        ticks.apply(2, [OpenStream(stream), PushAudio(stream, pcm), FinishUtterance(stream, 0)], 0)
        alone = reference.last_finish(reference.settle(schedule, ticks)[2], stream)
        ticks.close_link(2)
        shared = reference.last_finish(told, stream)
        assert shared.text == alone.text
        assert [(w.text, w.start_ms, w.end_ms) for w in shared.words] == [
            (w.text, w.start_ms, w.end_ms) for w in alone.words
        ]
        for ours, theirs in zip(shared.words, alone.words, strict=True):
            assert ours.confidence == pytest.approx(theirs.confidence, abs=2e-3)


def test_partials_only_grow_and_are_settled_as_said(nemo_models: NemoModels) -> None:
    stepper = reference.stepper_of(nemo_models.ctc, StepperLimits(slots=2, max_batch=2))
    schedule, ticks = reference.ticks_of(stepper)
    ticks.apply(1, [OpenStream(0), PushAudio(0, reference.noise(4.0)), FinishUtterance(0, 1)], 0)
    told = reference.settle(schedule, ticks)[1]
    assert len(told) > 5
    assert reference.settled_text(told)


@pytest.mark.parametrize(("model", "decoder"), [("ctc", "ctc"), ("hybrid", "rnnt")])
def test_phrases_are_preferred_for_their_tenant_alone(nemo_models: NemoModels, model: str, decoder: str) -> None:
    phrases = reference.phrases_of(shop=("cedar chair",), other=("warranty",))
    stepper = reference.stepper_of(getattr(nemo_models, model), decoder=decoder, phrases=phrases, phrase_weight=30.0)
    plain = reference.stepper_of(getattr(nemo_models, model), decoder=decoder)
    pcm = reference.noise(1.5)
    texts: dict[str, str] = {}
    for tenants, used in ((("shop", "other", "nobody"), stepper), (("plain",), plain)):
        schedule, ticks = reference.ticks_of(used)
        for stream, tenant in enumerate(tenants):
            ticks.apply(1, [OpenStream(stream, tenant), PushAudio(stream, pcm), FinishUtterance(stream, 0)], 0)
        told = reference.settle(schedule, ticks)[1]
        texts |= {tenant: reference.last_finish(told, stream).text for stream, tenant in enumerate(tenants)}
    assert "cedar" in texts["shop"]
    assert "warranty" in texts["other"]
    assert "cedar" not in texts["nobody"]
    assert texts["nobody"] == texts["plain"]


class FallsSilent:
    """A decoder that hears nothing after its first words; random weights may speak in silence."""

    def __init__(self, decoder: FrameDecoder) -> None:
        self.vocabulary = decoder.vocabulary
        self.begin = decoder.begin
        self._decode = decoder.decode
        self._has_heard = False

    def decode(self, encoded: Any, outputs: Sequence[int], states: Sequence[Any]) -> list[Decoded]:
        decoded = self._decode(encoded, outputs, states)
        if self._has_heard:
            return [Decoded([], item.state) for item in decoded]
        self._has_heard = any(token.piece != 0 for item in decoded for token in item.tokens)  # 0: unknown
        return decoded


def test_silence_after_words_ends_an_utterance_once(nemo_models: NemoModels) -> None:
    limits = StepperLimits(slots=1, max_batch=1, end_silence_ms=400)
    stepper = reference.stepper_of(nemo_models.ctc, limits)
    stepper._decoder = FallsSilent(stepper._decoder)
    stepper.open(0, "")
    pcm = reference.noise(4.0)
    pcm, chunk = pcm[stepper.first_bytes :], pcm[: stepper.first_bytes]
    while not stepper.step([SlotAudio(0, chunk)])[0].text:
        pcm, chunk = pcm[stepper.chunk_bytes :], pcm[: stepper.chunk_bytes]
    silence = SlotAudio(0, bytes(stepper.chunk_bytes))
    ends = [stepper.step([silence])[0].ends_utterance for _ in range(9)]
    assert ends.count(True) == 1
    assert ends.index(True) in (1, 2), "5 frames of silence, 2 a chunk, after a word in either frame of its chunk"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"chunk_ms": 240}, "chunk_ms 240 is not one of those the model was trained for: 80, 160, 560, 1120"),
        ({"decoder": "rnnt"}, "the model has no rnnt decoder"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(
    nemo_models: NemoModels, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(EngineError, match=reason):
        reference.stepper_of(nemo_models.ctc, **settings)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"there is no model at .*gone\.nemo"):
        reference.stepper_of(tmp_path / "gone.nemo")
