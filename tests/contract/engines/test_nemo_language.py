"""CTC with a language model: NeMo's scores, texts that the language prefers, and the same streams as without."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from deployments.engines.nemo.ngrams import NGramScores, language_model_of, load_ngrams
from deployments.engines.nemo.prefix_beam import BeamHabits, PrefixBeam
from deployments.engines.nemo.token_text import TokenText
from ingest_jobs.speech.language_model.command import main as make_language_model
from pipelines.errors import EngineError
from pipelines.hearing.link import CloseStream, FinishUtterance, OpenStream, PushAudio
from tests.contract.engines import nemo_reference as reference
from tests.contract.engines.nemo_language import save_language
from tests.contract.engines.nemo_models import NemoModels

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

PIECES = 64
SENTENCES = ("where is the cedar lamp", "the cedar chair and the lamp", "yes please", "i want the number")


@pytest.fixture(scope="module")
def language(nemo_models: NemoModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language(tmp_path_factory.mktemp("language") / "small.arpa", nemo_models.tokenizer, SENTENCES)


def test_scores_are_those_of_nemo(language: Path) -> None:
    ngrams = load_ngrams(language, PIECES)
    scores = NGramScores(ngrams, weight=0.5)
    states = torch.cat([ngrams.get_init_states(1), torch.arange(ngrams.num_states)])
    theirs, following = ngrams.advance(states)
    assert scores.begin() == int(states[0])
    for row, state in enumerate(states.tolist()):
        ours, next_states = scores.after(state)
        assert np.allclose(ours, 0.5 * theirs[row].detach().numpy(), atol=1e-4)
        assert next_states.tolist() == following[row].tolist()


@pytest.mark.parametrize("model", ["ctc", "hybrid"])
def test_finishes_hear_what_a_search_over_one_pass_hears(nemo_models: NemoModels, language: Path, model: str) -> None:
    path: Path = getattr(nemo_models, model)
    stepper = reference.stepper_of(path, decoder="ctc", language_model=str(language))
    one_pass = reference.OnePass(path, 160)
    search = PrefixBeam(NGramScores(load_ngrams(language, PIECES), BeamHabits().weight), PIECES)
    schedule, ticks = reference.ticks_of(stepper)
    ticks.apply(1, [OpenStream(0)], 0)
    said = b""
    for turn, seconds in enumerate([0.05, 0.7, 1.304, 0.9]):
        more = reference.noise(seconds, seed=turn)
        said += more
        ticks.apply(1, [PushAudio(0, more), FinishUtterance(0, turn)], 0)
        heard = reference.last_finish(reference.settle(schedule, ticks)[1], 0)
        log_probs = one_pass.log_probs(said + bytes(2 * 32_000))[: reference.frames_of_finish(stepper, said)]
        assert heard.text == searched(search, stepper, log_probs.numpy())
        assert [word.text for word in heard.words] == heard.text.split()
        times = [time for word in heard.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert times[0] >= 0


def searched(search: PrefixBeam, stepper: reference.NemoStepper, log_probs: np.ndarray) -> str:  # type: ignore[type-arg]
    """Search chunk by chunk: where a text gets too long to stay open, the parts decide when it is settled."""
    geometry, text, state, place = stepper._geometry, TokenText(), search.begin(), 0
    while place < len(log_probs):
        size = geometry.first_outputs if place == 0 else geometry.chunk_outputs
        followed = search.follow(log_probs[place : place + size], state)
        text.extend(followed.settled, stepper._decoder.vocabulary)
        state, place = followed.state, place + size
    text.extend(followed.open, stepper._decoder.vocabulary)
    return " ".join(text.words)


def test_results_do_not_depend_on_who_shares_the_batch(nemo_models: NemoModels, language: Path) -> None:
    rng = random.Random(4)
    schedule, ticks = reference.ticks_of(reference.stepper_of(nemo_models.ctc, language_model=str(language)))
    script = {stream: reference.noise(rng.uniform(0.4, 2.0), seed=stream) for stream in range(8)}
    for stream, pcm in script.items():
        # The first half of each in company of those before.
        ticks.apply(1, [OpenStream(stream), PushAudio(stream, pcm[: len(pcm) // 4 * 2])], 0)
        ticks.run(lambda: 0)
    for stream, pcm in script.items():
        ticks.apply(1, [PushAudio(stream, pcm[len(pcm) // 4 * 2 :]), FinishUtterance(stream, 0)], 0)
    told = reference.settle(schedule, ticks)[1]
    ticks.apply(1, [CloseStream(stream) for stream in script], 0)
    for stream, pcm in script.items():
        ticks.apply(2, [OpenStream(stream), PushAudio(stream, pcm), FinishUtterance(stream, 0)], 0)
        alone = reference.last_finish(reference.settle(schedule, ticks)[2], stream)
        ticks.close_link(2)
        assert reference.last_finish(told, stream).text == alone.text


def test_what_is_settled_stays_and_the_rest_is_a_guess(nemo_models: NemoModels, language: Path) -> None:
    schedule, ticks = reference.ticks_of(reference.stepper_of(nemo_models.ctc, language_model=str(language)))
    ticks.apply(1, [OpenStream(0), PushAudio(0, reference.noise(6.0)), FinishUtterance(0, 1)], 0)
    assert reference.settled_text(reference.settle(schedule, ticks)[1])


def test_the_language_is_what_callers_may_say(nemo_models: NemoModels, language: Path) -> None:
    """Random weights say anything; with a heavy language they say its words only."""
    known = {word for sentence in SENTENCES for word in sentence.split()}
    texts = {}
    for weight in (0.0, 8.0):
        beam = BeamHabits(pieces=PIECES, depth=1e3)
        stepper = reference.stepper_of(nemo_models.ctc, language_model=str(language), beam=beam, language_weight=weight)
        schedule, ticks = reference.ticks_of(stepper)
        ticks.apply(1, [OpenStream(0), PushAudio(0, reference.noise(4.0)), FinishUtterance(0, 0)], 0)
        texts[weight] = reference.last_finish(reference.settle(schedule, ticks)[1], 0).text.split()
    share = {weight: sum(word in known for word in words) / len(words) for weight, words in texts.items()}
    assert share[8.0] > 0.7 > share[0.0]


def test_phrases_of_a_tenant_are_preferred_on_top_of_the_language(nemo_models: NemoModels, language: Path) -> None:
    stepper = reference.stepper_of(
        nemo_models.ctc,
        language_model=str(language),
        beam=BeamHabits(pieces=PIECES, depth=1e3),
        phrases=reference.phrases_of(shop=("warranty",)),
        phrase_weight=20.0,
    )
    pcm = reference.noise(1.5)
    schedule, ticks = reference.ticks_of(stepper)
    for stream, tenant in enumerate(("shop", "nobody")):
        ticks.apply(1, [OpenStream(stream, tenant), PushAudio(stream, pcm), FinishUtterance(stream, 0)], 0)
    told = reference.settle(schedule, ticks)[1]
    assert "warranty" in reference.last_finish(told, 0).text
    assert "warranty" not in reference.last_finish(told, 1).text


def test_errors_say_what_is_wrong(nemo_models: NemoModels, language: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="there is no language model"):
        reference.stepper_of(nemo_models.ctc, language_model=str(tmp_path / "none.lm"))
    with pytest.raises(EngineError, match="needs the ctc decoder"):
        reference.stepper_of(nemo_models.hybrid, language_model=str(language))
    with pytest.raises(EngineError, match="is not a language model for 8 word pieces"):
        load_ngrams(language, 8)
    broken = tmp_path / "broken.lm"
    broken.write_bytes(b"nothing")
    with pytest.raises(EngineError, match="is not a language model"):
        load_ngrams(broken, PIECES)


def test_command_learns_from_texts_for_a_model(nemo_models: NemoModels, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("Where is my order 1042?\n\nThe lamp.\nThe chair!\n", "utf-8")
    out = tmp_path / "company.lm"
    assert make_language_model([str(texts), "--model", str(nemo_models.ctc), "--out", str(out), "--order", "3"]) == 0
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".lm"] == ["company.lm"]
    assert language_model_of("auto", tmp_path / "company.nemo") == out
    assert language_model_of("auto", tmp_path / "other.nemo") is None
    scores = NGramScores(load_ngrams(out, PIECES))
    after, _ = scores.after(scores.begin())
    assert np.exp(after).sum() <= 1.0

    missing = str(tmp_path / "missing.txt")
    assert make_language_model([missing, "--model", str(nemo_models.ctc), "--out", str(out)]) == 2
    assert make_language_model([str(texts), "--model", str(texts), "--out", str(out)]) == 2
    texts.write_text("\n!\n", "utf-8")
    assert make_language_model([str(texts), "--model", str(nemo_models.ctc), "--out", str(out)]) == 2
