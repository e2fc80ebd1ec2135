"""Smart Turn: the contract, the features against transformers' own, and judgements of real speech."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from deployments.engines.turn_end.smart_turn import SmartTurnDetector, log_mel_features
from pipelines.errors import EngineError
from tests.contract.engines.port_contracts import TurnDetectorContract

pytestmark = pytest.mark.contract


class TestSmartTurn(TurnDetectorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, model_dir: Callable[[str], Path]) -> Iterator[SmartTurnDetector]:
        detector = SmartTurnDetector(model_dir("smart-turn-v3.2") / "smart-turn-v3.2-cpu.onnx", threads=1)
        detector.warm_up()
        yield detector
        detector.close()

    async def test_finished_question_is_more_complete_than_its_beginning(
        self, engine: SmartTurnDetector, speak: Callable[[str], bytes]
    ) -> None:
        whole = await engine.completion_probability(speak("Where is my order?"))
        cut = await engine.completion_probability(speak("I would like to know whether my")[:-9600])
        assert whole > 0.5 > cut

    async def test_batched_judgements_equal_single_ones(
        self, engine: SmartTurnDetector, model_dir: Callable[[str], Path], question_16k: bytes
    ) -> None:
        import asyncio

        batched = SmartTurnDetector(model_dir("smart-turn-v3.2") / "smart-turn-v3.2-cpu.onnx", threads=1, max_batch=4)
        audios = [question_16k, question_16k[:20_000], bytes(4000)]
        together = await asyncio.gather(*(batched.completion_probability(pcm) for pcm in audios))
        assert together == pytest.approx([await engine.completion_probability(pcm) for pcm in audios], abs=1e-4)
        batched.close()

    async def test_closed_detector_refuses_and_leaves_no_thread(self, model_dir: Callable[[str], Path]) -> None:
        before = set(threading.enumerate())
        detector = SmartTurnDetector(model_dir("smart-turn-v3.2") / "smart-turn-v3.2-cpu.onnx", threads=1)
        await detector.completion_probability(bytes(3200))
        detector.close()
        assert set(threading.enumerate()) <= before
        with pytest.raises(EngineError):
            await detector.completion_probability(bytes(3200))


@pytest.mark.parametrize("samples", [0, 1, 160, 201, 16_000, 127_799, 127_999, 128_000, 150_000])
def test_features_equal_the_reference_extractor(samples: int) -> None:
    from transformers import WhisperFeatureExtractor

    rng = np.random.default_rng(samples)
    audio = (np.sin(np.arange(samples) * 0.05) * 8000 + rng.normal(0, 500, samples)).astype("<i2")
    padded = np.zeros(128_000, np.float32)
    if samples:
        last = audio[-128_000:]
        padded[-last.size :] = last / np.float32(32768.0)
    extractor = WhisperFeatureExtractor(chunk_length=8)
    expected = extractor(padded, sampling_rate=16_000, return_tensors="np", do_normalize=True).input_features[0]
    assert np.abs(log_mel_features(audio.tobytes()) - expected).max() < 1e-4
