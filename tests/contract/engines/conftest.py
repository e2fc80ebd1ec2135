"""Real weights from the catalog, and real speech from a real voice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soxr

from cluster.catalog.catalog import ModelCatalog
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from deployments.engines.piper.synthesizer import PiperSynthesizer
from pipelines.ports import SpeechRequest
from tests.contract.engines.nemo_models import NemoModels


@pytest.fixture(scope="session")
def model_dir() -> Callable[[str], Path]:
    """The folder of a catalog model, fetched when it is not on this machine."""
    return ModelCatalog.load(VoxrayConfig(), process_environment()).fetch


@pytest.fixture(scope="session")
def speak(model_dir: Callable[[str], Path]) -> Callable[[str], bytes]:
    """Speaks a text as 16 kHz PCM, with 0.1 s of silence around it."""
    voice = PiperSynthesizer(next(model_dir("piper-en-us-joe-medium").glob("*.onnx")), threads=1)

    async def synthesize(text: str) -> bytes:
        return b"".join([chunk.pcm_24k async for chunk in voice.synthesize(SpeechRequest(text))])

    def spoken(text: str) -> bytes:
        with ThreadPoolExecutor(max_workers=1) as outside_of_any_loop:
            audio = outside_of_any_loop.submit(lambda: asyncio.run(synthesize(text))).result()
        samples = np.frombuffer(audio, "<i2").astype(np.float32)
        lower = soxr.resample(samples, 24_000, 16_000)
        pcm: bytes = np.clip(lower, -32768, 32767).astype("<i2").tobytes()
        return bytes(3200) + pcm + bytes(3200)

    return spoken


@pytest.fixture(scope="session")
def nemo_models(tmp_path_factory: pytest.TempPathFactory) -> NemoModels:
    """Tiny cache-aware models with random weights; the first one asked for takes NeMo's import, 20 s and more."""
    return NemoModels(tmp_path_factory.mktemp("nemo"))


@pytest.fixture(scope="session")
def question_16k(speak: Callable[[str], bytes]) -> bytes:
    return speak("What is your return policy?")
