"""Piper: the contract, and what a listener hears, judged by Whisper."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from deployments.engines.piper.synthesizer import PiperSynthesizer
from deployments.engines.whisper.recognizer import WhisperRecognizer
from tests.contract.engines.port_contracts import SynthesizerContract, chunks_of

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def listener(model_dir: Callable[[str], Path]) -> Iterator[WhisperRecognizer]:
    recognizer = WhisperRecognizer(model_dir("whisper-tiny"), threads=1, language="en")
    yield recognizer
    recognizer.close()


class TestPiper(SynthesizerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, model_dir: Callable[[str], Path]) -> Iterator[PiperSynthesizer]:
        synthesizer = PiperSynthesizer(next(model_dir("piper-en-us-joe-medium").glob("*.onnx")), threads=1)
        synthesizer.warm_up()
        yield synthesizer
        synthesizer.close()

    @pytest.mark.parametrize(
        ("written", "words"),
        [
            ("The tent costs $49.50 today.", "The tent costs forty nine dollars and fifty cents today."),
            ("Write to support@northwind.example please.", "Write to support at northwind dot example please."),
            ("You have a 30-day return window.", "You have a thirty-day return window."),
            ("We are open 9am-5pm every day.", "We are open nine A M to five P M every day."),
        ],
    )
    async def test_written_forms_sound_as_the_words_that_people_say(
        self, engine: PiperSynthesizer, written: str, words: str
    ) -> None:
        spoken = [b"".join(chunk.pcm_24k for chunk in await chunks_of(engine, text)) for text in (written, words)]
        assert spoken[0] == spoken[1]

    @pytest.mark.parametrize(
        ("form", "heard"),
        [
            ("$49.50", r"49[ .]50|49 dollars and 50 cents|forty.nine"),
            ("support@northwind.example", r"support at north ?wind|support@north ?wind"),
            ("a 30-day return window", r"30.day|thirty.day"),
            ("9am-5pm", r"9 ?a\.? ?m\.? to 5 ?p\.? ?m|nine a\.?m\.? to five"),
        ],
    )
    async def test_written_forms_are_understood(
        self, listener: WhisperRecognizer, speak: Callable[[str], bytes], form: str, heard: str
    ) -> None:
        """By a small recogniser, whose ear differs a little with the processor: in two sentences of three."""
        sentences = (f"Our page says {form} today.", f"It says {form} on the page.", f"We told them {form} on Monday.")
        transcripts = [(await listener.recognize(speak(sentence))).text.lower() for sentence in sentences]
        assert sum(bool(re.search(heard, transcript)) for transcript in transcripts) >= 2, transcripts

    async def test_silence_at_the_edges_is_trimmed_and_level_is_set(self, engine: PiperSynthesizer) -> None:
        for text in ("Yes.", "Your order was shipped on Monday.", "It depends on the size of the tent, mostly."):
            audio = b"".join(chunk.pcm_24k for chunk in await chunks_of(engine, text))
            samples = np.frombuffer(audio, "<i2") / 32768
            loud = np.flatnonzero(np.abs(samples) > 0.02)
            assert loud[0] / 24 < 60
            assert (samples.size - loud[-1]) / 24 < 260
            assert 0.05 < np.sqrt(np.mean(samples[np.abs(samples) > 0.012] ** 2)) < 0.2
            assert np.abs(samples).max() < 1.0

    async def test_same_words_sound_the_same_each_time(self, engine: PiperSynthesizer) -> None:
        first, other, again = [
            b"".join(chunk.pcm_24k for chunk in await chunks_of(engine, text))
            for text in ("It ships on Monday.", "Yes.", "It ships on Monday.")
        ]
        assert first == again
        assert len(other) < len(first)

    async def test_close_leaves_no_thread(self, model_dir: Callable[[str], Path]) -> None:
        before = set(threading.enumerate())
        synthesizer = PiperSynthesizer(next(model_dir("piper-en-us-joe-medium").glob("*.onnx")), threads=1)
        await chunks_of(synthesizer, "Yes.")
        synthesizer.close()
        assert set(threading.enumerate()) <= before


def test_pieces_decode_to_the_samples_of_the_whole(model_dir: Callable[[str], Path]) -> None:
    synthesizer = PiperSynthesizer(next(model_dir("piper-en-us-joe-medium").glob("*.onnx")), threads=1)
    (phonemes, *_) = synthesizer._phonemize("Orders over fifty dollars ship free and arrive soon.")
    latent = synthesizer._encode(phonemes, 1.0)
    pieces = [samples for samples, _ in synthesizer._decode(latent)]
    (whole,) = synthesizer._decoder.run(None, {synthesizer._names.latent: latent.columns})
    assert len(pieces) > 2
    assert np.abs(np.concatenate(pieces) - whole.ravel()).max() < 1e-4
    synthesizer.close()
