"""Whisper behind the growing-window transcriber: the contract, and the audio that makes Whisper invent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from deployments.engines.whisper.recognizer import WhisperRecognizer
from pipelines.hearing.windowed import WindowedTranscriber
from tests.contract.engines.port_contracts import TranscriberContract

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def recognizer(model_dir: Callable[[str], Path]) -> Iterator[WhisperRecognizer]:
    recognizer = WhisperRecognizer(model_dir("whisper-tiny"), threads=1, language="en")
    recognizer.warm_up()
    yield recognizer
    recognizer.close()


class TestWhisper(TranscriberContract):
    @pytest.fixture
    def engine(self, recognizer: WhisperRecognizer) -> WindowedTranscriber:
        return WindowedTranscriber(recognizer.recognize, partial_interval_ms=500)


def noise(rms: float) -> bytes:
    pcm: bytes = np.random.default_rng(1).normal(0, rms, 32_000).astype("<i2").tobytes()
    return pcm


@pytest.mark.parametrize(
    "pcm",
    [
        b"",
        b"\x01",
        bytes(64_000),
        noise(100),
        noise(2000),
        (np.sin(np.arange(32_000) / 6) * 5000).astype("<i2").tobytes(),
    ],
    ids=["empty", "odd byte", "silence", "hiss", "loud noise", "tone"],
)
async def test_audio_without_speech_is_no_text(recognizer: WhisperRecognizer, pcm: bytes) -> None:
    assert (await recognizer.recognize(pcm)).text == ""


async def test_repeated_start_is_not_heard(recognizer: WhisperRecognizer, question_16k: bytes) -> None:
    text = (await recognizer.recognize(question_16k)).text
    assert text.lower().count("return") == 1


async def test_audio_beyond_the_window_is_heard_to_its_end(
    recognizer: WhisperRecognizer, speak: Callable[[str], bytes]
) -> None:
    questions = (
        "How long does shipping take? Where is my order? How do I reset my password? Do you offer gift cards? "
        "What is the warranty on hiking boots? How do I cancel my subscription? Can I pick up my order at the store? "
        "What payment methods do you accept? How do I contact customer support? How do I clean my rain jacket? "
        "What is the weight limit of the folding chair? Can I exchange a gift without a receipt? "
        "Do you deliver on weekends? What happens if my package is lost? I need help with a broken zipper."
    )
    long = b"".join(speak(f"{question}?") + bytes(16_000) for question in questions.rstrip(".").split("? "))
    text = (await recognizer.recognize(long)).text.lower()
    assert len(long) > 32_000 * 30
    heard = [
        word for word in ("shipping", "password", "gift", "warranty", "payment", "receipt", "lost") if word in text
    ]
    assert len(heard) >= 6
    assert "zipper" in text[-30:]


async def test_close_leaves_no_thread(model_dir: Callable[[str], Path], question_16k: bytes) -> None:
    before = set(threading.enumerate())
    recognizer = WhisperRecognizer(model_dir("whisper-tiny"), threads=1, language="en")
    await recognizer.recognize(question_16k)
    recognizer.close()
    assert set(threading.enumerate()) <= before
