"""Silero, batched: the contract, and equality with the model's own one-stream formula."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from deployments.engines.vad.silero import SileroSpeechDetector
from pipelines.call.state import WARM_UP_MS
from tests.contract.engines.port_contracts import SpeechDetectorContract, scores_of

pytestmark = pytest.mark.contract


def reference_scores(model: Path, pcm_16k: bytes) -> list[float]:
    """The wrapper that ships with the model: 64 samples of context, then 512 new ones, state carried over."""
    session = onnxruntime.InferenceSession(str(model))
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros((1, 64), np.float32)
    samples = np.frombuffer(pcm_16k, "<i2").astype(np.float32) / 32768.0
    scores = []
    for start in range(0, samples.size - 511, 512):
        window = np.concatenate([context, samples[None, start : start + 512]], axis=1)
        output, state = session.run(None, {"input": window, "state": state, "sr": np.array(16000, np.int64)})
        context = window[:, -64:]
        scores.append(float(output[0, 0]))
    return scores


class TestSilero(SpeechDetectorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, model_dir: Callable[[str], Path]) -> Iterator[SileroSpeechDetector]:
        detector = SileroSpeechDetector(model_dir("silero-vad") / "silero_vad.onnx", tick_ms=1, threads=1)
        detector.warm_up()
        yield detector
        detector.close()
        detector.close()

    async def test_scores_equal_the_unbatched_reference(
        self, engine: SileroSpeechDetector, model_dir: Callable[[str], Path], question_16k: bytes
    ) -> None:
        got = [score.probability for score in await scores_of(engine, question_16k)]
        assert got == pytest.approx(
            reference_scores(model_dir("silero-vad") / "silero_vad.onnx", question_16k), abs=1e-5
        )

    async def test_many_calls_at_once_equal_one(self, engine: SileroSpeechDetector, question_16k: bytes) -> None:
        """More streams than one batch takes."""
        import asyncio

        alone = [score.probability for score in await scores_of(engine, question_16k)]
        for scores in await asyncio.gather(*(scores_of(engine, question_16k, 6400) for _ in range(60))):
            assert [score.probability for score in scores] == pytest.approx(alone, abs=1e-4)

    async def test_speech_is_found_after_long_silence(self, engine: SileroSpeechDetector, question_16k: bytes) -> None:
        scores = await scores_of(engine, bytes(32_000 * 20) + question_16k)
        assert max(score.probability for score in scores[-40:]) > 0.9

    async def test_a_stream_that_begins_anew_is_warm_in_time(
        self, engine: SileroSpeechDetector, question_16k: bytes
    ) -> None:
        """A call that is taken over begins a stream in the middle, on the audio of `WARM_UP_MS` before."""
        audio = question_16k + bytes(32_000) + question_16k
        whole = [score.probability for score in await scores_of(engine, audio)]
        warm_up = WARM_UP_MS // 32
        for first in range(warm_up, len(whole) - warm_up, 10):
            again = await scores_of(engine, audio[(first - warm_up) * 1024 :])
            assert [score.probability for score in again[warm_up:]] == pytest.approx(whole[first:], abs=0.1)

    async def test_close_leaves_no_thread(self, model_dir: Callable[[str], Path], question_16k: bytes) -> None:
        before = set(threading.enumerate())
        detector = SileroSpeechDetector(model_dir("silero-vad") / "silero_vad.onnx", tick_ms=16, threads=1)
        await scores_of(detector, question_16k)
        detector.close()
        assert set(threading.enumerate()) <= before


async def test_streams_closed_before_their_turn_cost_nothing(model_dir: Callable[[str], Path]) -> None:
    detector = SileroSpeechDetector(model_dir("silero-vad") / "silero_vad.onnx", tick_ms=16, threads=1)
    stream = detector.open(lambda score: None)
    stream.push(bytes(4096))
    stream.close()
    assert len(await scores_of(detector, bytes(2048))) == 2
    detector.close()
