"""The voices of the corpus: the real engines where their packages carry them, and models that say what they are given.

Piper's and Kokoro's models are made here: their sound is the input, sample by sample, so that a test can read it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import espeakng_loader
import numpy as np
import pytest

from ingest_jobs.speech.corpus import command, plan
from ingest_jobs.speech.corpus.plan import PlannedUtterance
from ingest_jobs.speech.corpus.voices.espeak import EspeakVoices
from ingest_jobs.speech.corpus.voices.kokoro import KokoroVoices
from ingest_jobs.speech.corpus.voices.pico import PicoVoices
from ingest_jobs.speech.corpus.voices.piper import PiperVoice
from ingest_jobs.speech.corpus.voices.voice import SpeakingEngine

onnx = pytest.importorskip("onnx", reason="it comes with NeMo")
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64

pytestmark = pytest.mark.contract
SHORT, LONG = "Where is it?", "Where is the order that I placed two weeks ago, and when will it arrive?"


def save(path: Path, inputs: dict[str, tuple[int, list[Any]]], nodes: list[Any], constants: dict[str, Any]) -> Path:
    """Write an ONNX model of these nodes; its output is called "audio"."""
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "voice",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("audio", FLOAT, None)],
        [onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


# The engines whose packages carry their voices.


@pytest.fixture(scope="module")
def espeak() -> EspeakVoices:
    return EspeakVoices()


@pytest.fixture(scope="module")
def pico() -> PicoVoices:
    return PicoVoices()


@pytest.fixture(params=["espeak", "pico"])
def spoken(request: pytest.FixtureRequest) -> tuple[SpeakingEngine, str, str]:
    """An engine with two of its speakers."""
    speakers = {"espeak": ("en-us+f3", "en-gb-x-rp+m3"), "pico": ("en-US", "en-GB")}[request.param]
    return request.getfixturevalue(request.param), *speakers


def test_voice_gives_16_khz_speech_whose_length_follows_the_text(spoken: tuple[SpeakingEngine, str, str]) -> None:
    engine, speaker, _ = spoken
    short, long = (engine.speak(text, speaker, random.Random(1)) for text in (SHORT, LONG))
    for samples in (short, long):
        assert samples.dtype == np.float32
        assert 0.1 < float(np.abs(samples).max()) <= 1.0
    assert 0.3 < short.size / 16_000 < 3
    assert 3 < long.size / 16_000 < 9


def test_pace_follows_the_random_numbers_alone(spoken: tuple[SpeakingEngine, str, str]) -> None:
    engine, speaker, _ = spoken
    first, again, *others = (engine.speak(SHORT, speaker, random.Random(seed)).size for seed in (1, 1, 2, 3, 4))
    assert first == pytest.approx(again, abs=160)  # the engines' own state moves an end by some samples
    assert max(first, *others) > 1.05 * min(first, *others)


def test_speakers_sound_different(spoken: tuple[SpeakingEngine, str, str]) -> None:
    engine, *speakers = spoken
    one, other = (engine.speak(SHORT, speaker, random.Random(1)) for speaker in speakers)
    assert not np.array_equal(one, other)


def test_speaker_that_there_is_not_is_an_error(espeak: EspeakVoices, pico: PicoVoices) -> None:
    with pytest.raises(ValueError, match="espeak-ng has no voice nobody"):
        espeak.speak(SHORT, "nobody", random.Random(1))
    with pytest.raises(ValueError, match="voice"):
        pico.speak(SHORT, "nobody", random.Random(1))


def test_every_speaker_that_is_planned_has_its_accent_and_its_variant(espeak: EspeakVoices) -> None:
    # espeak-ng takes a variant that it does not have for none, and says nothing.
    variants = {path.name for path in Path(espeakng_loader.get_data_path(), "voices", "!v").iterdir()}
    seen = [f"{accent}+{variant}" for accent in plan._ESPEAK_ACCENTS for variant in plan._ESPEAK_VARIANTS]
    for speaker in {*seen, *plan.ESPEAK_UNSEEN}:
        assert speaker.partition("+")[2] in variants
    for accent in {speaker.partition("+")[0] for speaker in (*seen, *plan.ESPEAK_UNSEEN)}:
        assert espeak.speak("Yes.", accent, random.Random(1)).size


# Piper: a model whose samples are the ids and the scales that it was given.

PIPER_IDS = {"_": [0], "^": [1], "$": [2], "h": [20], "ə": [21], "l": [22], "o": [23], "ʊ": [24], "ˈ": [25], ".": [26]}


@pytest.fixture
def piper_model(tmp_path: Path) -> Callable[..., Path]:
    def make(rate_hz: int = 16_000) -> Path:
        node = onnx.helper.make_node
        nodes = [
            node("Cast", ["input"], ["ids"], to=FLOAT),
            node("Reshape", ["ids", "flat"], ["row"]),
            node("Cast", ["input_lengths"], ["length"], to=FLOAT),
            node("Concat", ["row", "length", "scales"], ["audio"], axis=0),
        ]
        inputs = {"input": (INT64, [1, None]), "input_lengths": (INT64, [1]), "scales": (FLOAT, [3])}
        path = save(tmp_path / "voice.onnx", inputs, nodes, {"flat": np.array([-1], np.int64)})
        described = {"audio": {"sample_rate": rate_hz}, "espeak": {"voice": "en-us"}, "phoneme_id_map": PIPER_IDS}
        Path(f"{path}.json").write_text(json.dumps(described), "utf-8")
        return path

    return make


def test_piper_is_given_the_known_phonemes_padded_between_begin_and_end(piper_model: Callable[..., Path]) -> None:
    samples = PiperVoice(piper_model()).speak("Hello.", "joe", random.Random(1))
    ids, (length, *scales) = samples[:-4].astype(int).tolist(), samples[-4:].tolist()
    said = "həlˈoʊ."
    assert ids == [1, 0, *(each for phoneme in said for each in (PIPER_IDS[phoneme][0], 0)), 2]
    assert length == len(ids)
    latent, pace, durations = scales
    assert 0.4 <= latent <= 0.9
    assert 0.8 <= pace <= 1.3
    assert 0.5 <= durations <= 1.1


def test_piper_varies_with_the_random_numbers_only(piper_model: Callable[..., Path]) -> None:
    voice = PiperVoice(piper_model())
    first, again, other = (voice.speak("Hello.", "joe", random.Random(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.array_equal(first[:-3], other[:-3])
    assert not np.array_equal(first[-3:], other[-3:])


def test_piper_says_nothing_where_no_phoneme_is_known(piper_model: Callable[..., Path]) -> None:
    samples = PiperVoice(piper_model()).speak("?", "joe", random.Random(1))
    assert (samples.size, samples.dtype) == (0, np.float32)


def test_piper_model_of_another_rate_is_resampled(piper_model: Callable[..., Path]) -> None:
    at_16k = PiperVoice(piper_model()).speak("Hello. " * 20, "joe", random.Random(1))
    at_32k = PiperVoice(piper_model(32_000)).speak("Hello. " * 20, "joe", random.Random(1))
    assert at_32k.size == pytest.approx(at_16k.size / 2, abs=1)


def test_piper_model_without_its_description_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"voice\.onnx\.json"):
        PiperVoice(tmp_path / "voice.onnx")


# Kokoro: a model that holds three levels for 0.1 s each: the style's first value, the number of tokens and the pace.

KOKORO_HOLDS = 2400
STEP = 1 / 1024


@pytest.fixture
def kokoro(tmp_path: Path) -> KokoroVoices:
    node = onnx.helper.make_node
    nodes = [
        node("Slice", ["style", "zero", "one", "second"], ["first"]),
        node("Reshape", ["first", "one"], ["level"]),
        node("Size", ["tokens"], ["size"]),
        node("Cast", ["size"], ["count"], to=FLOAT),
        node("Mul", ["count", "step"], ["share"]),
        node("Reshape", ["share", "one"], ["length"]),
        node("Expand", ["level", "hold"], ["a"]),
        node("Expand", ["length", "hold"], ["b"]),
        node("Expand", ["speed", "hold"], ["c"]),
        node("Concat", ["a", "b", "c"], ["audio"], axis=0),
    ]
    constants = {
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "second": np.array([1], np.int64),
        "hold": np.array([KOKORO_HOLDS], np.int64),
        "step": np.array(STEP, np.float32),
    }
    inputs = {"tokens": (INT64, [1, None]), "style": (FLOAT, [1, 256]), "speed": (FLOAT, [1])}
    model = save(tmp_path / "kokoro.onnx", inputs, nodes, constants)
    for name, offset in (("af_one", 0.0), ("bm_two", 0.25)):
        rows = np.arange(510, dtype=np.float32) * STEP + offset
        np.repeat(rows, 256).astype(np.float32).tofile(tmp_path / f"{name}.bin")
    return KokoroVoices(model, tmp_path)


def levels(kokoro: KokoroVoices, text: str, speaker: str, seed: int = 1) -> tuple[float, float, float]:
    """Speak; return style, tokens and pace as the model was given them."""
    samples = kokoro.speak(text, speaker, random.Random(seed))
    assert samples.size == 3 * KOKORO_HOLDS * 16 // 24
    style, tokens, pace = (float(np.median(part)) for part in np.split(samples, 3))
    return style, tokens, pace


def test_kokoro_takes_the_style_of_the_length_of_what_is_said(kokoro: KokoroVoices) -> None:
    phonemes = len(kokoro.phonemes(SHORT, is_british=False))
    style, tokens, pace = levels(kokoro, SHORT, "af_one")
    assert style / STEP == pytest.approx(phonemes, abs=0.1)
    assert tokens / STEP == pytest.approx(phonemes + 2, abs=0.1)  # a zero before and after
    assert 0.85 <= pace <= 1.2
    assert levels(kokoro, SHORT, "af_one", seed=2)[:2] == pytest.approx((style, tokens), abs=STEP / 10)
    assert levels(kokoro, SHORT, "af_one", seed=2)[2] != pytest.approx(pace, abs=1e-4)


def test_kokoro_blends_two_speakers_half_and_half(kokoro: KokoroVoices) -> None:
    alone, blended = levels(kokoro, SHORT, "af_one")[0], levels(kokoro, SHORT, "af_one+bm_two")[0]
    assert blended - alone == pytest.approx(0.125, abs=STEP / 10)


def test_kokoro_cuts_what_is_longer_than_its_styles(kokoro: KokoroVoices) -> None:
    style, tokens, _ = levels(kokoro, LONG * 20, "af_one")
    assert (style / STEP, tokens / STEP) == (pytest.approx(500, abs=0.1), pytest.approx(502, abs=0.1))


def test_kokoro_says_nothing_of_nothing(kokoro: KokoroVoices) -> None:
    assert kokoro.speak("", "af_one", random.Random(1)).size == 0


def test_kokoro_speaker_without_a_file_is_named(kokoro: KokoroVoices) -> None:
    with pytest.raises(FileNotFoundError, match=r"af_nobody\.bin"):
        kokoro.speak(SHORT, "af_nobody", random.Random(1))


@pytest.mark.parametrize(
    ("text", "american", "british"),
    [
        ("church", "ʧˈɜɹʧ", "ʧˈɜːʧ"),
        ("furry", "fˈɜɹi", "fˈɜːɹɪ"),
        ("near", "nˈɪɹ", "nˈɪə"),
        ("judge", "ʤˈʌʤ", "ʤˈʌʤ"),
        ("day", "dˈA", "dˈA"),
        ("no", "nˈO", "nˈQ"),
    ],
)
def test_kokoro_hears_the_alphabet_that_it_was_trained_on(
    kokoro: KokoroVoices, text: str, american: str, british: str
) -> None:
    assert kokoro.phonemes(text, is_british=False) == american
    assert kokoro.phonemes(text, is_british=True) == british


# The whole command, with the two engines that need no weights.


def test_command_makes_a_corpus_of_real_voices_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = [
        PlannedUtterance("train-1", "train", "where is my order", "pico", "en-US"),
        PlannedUtterance("train-2", "train", "i want to return the lamp", "espeak", "en-us+f3"),
        PlannedUtterance("test-1", "test", "how much is the lantern", "pico", "en-GB"),
        PlannedUtterance("test-2", "test", "where is my order", "espeak", "en-us+m3"),
    ]
    monkeypatch.setattr(command, "plan_corpus", lambda *_: planned)
    weights = [part for name in ("piper-model", "kokoro-model", "kokoro-voices", "vocabulary")
               for part in (f"--{name}", str(tmp_path))]  # fmt: skip
    folder = tmp_path / "corpus"
    assert command.main([str(folder), *weights, "--processes", "1"]) == 0
    lines = {
        split: [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
        for split in ("train", "test")
    }
    assert [line["text"] for line in lines["train"]] == ["where is my order", "i want to return the lamp"]
    # What training has heard is no test, and each recording is there in every condition.
    assert {line["text"] for line in lines["test"]} == {"how much is the lantern"}
    assert len({line["audio_filepath"] for line in lines["test"]}) == 4
    assert all(line["duration"] > 0.5 for split in lines.values() for line in split)
    made = {path: path.stat().st_mtime_ns for path in folder.glob("audio/train/*.wav")}
    (folder / "audio" / "train" / "train-2.wav").unlink()
    assert command.main([str(folder), *weights, "--processes", "1"]) == 0
    again = {path: path.stat().st_mtime_ns for path in folder.glob("audio/train/*.wav")}
    assert [path.name for path in again if again[path] == made[path]] == ["train-1.wav"]
    assert len(again) == 2
