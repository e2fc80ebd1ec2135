"""Spoken calls through Serve with NeMo and the checkpoint of this repository; everything else is scripted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from rich.console import Console

from cluster.catalog.catalog import ModelCatalog
from cluster.config.environment import process_environment
from cluster.config.loading import load_config
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle import ClusterState, down, up
from cluster.lifecycle.ray.serve_api import ServeApi
from deployments.engines.piper.synthesizer import PiperSynthesizer
from ingest_jobs.speech.evaluation.normalizing import scored_words
from ingest_jobs.speech.evaluation.scoring import score
from pipelines.ports import SpeechRequest
from tests.ray.spoken_calls import SpokenCall

# Two replicas import NeMo and warm up on few cores; after a kill another one does.
pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
CHANGES = {
    "VOXRAY__POOLS__TRANSCRIBER__DEFAULT__ENGINE": "nemo",
    "VOXRAY__POOLS__TRANSCRIBER__DEFAULT__MODEL": "voxray-asr-small-en",
    "VOXRAY__POOLS__TRANSCRIBER__DEFAULT__DEVICE": "cpu",
    "VOXRAY__POOLS__TRANSCRIBER__DEFAULT__REPLICAS__MIN_REPLICAS": "2",
    "VOXRAY__POOLS__TRANSCRIBER__DEFAULT__REPLICAS__MAX_REPLICAS": "2",
    "VOXRAY__HEARING__LINK__WAIT_S": "120",
    # The scripted turn model ends a turn at the earliest silence: longer than any within the sentence.
    "VOXRAY__TURN__MIN_SILENCE_MS": "500",
}
# From the test split of the corpus: the training never held it. The checkpoint heard it without a fault when it came.
SENTENCE = "do you still make the cloudrest sleeping mat"
MOST_WORDS_WRONG = 2


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> VoxrayConfig:
    models = {name: value for name, value in process_environment().items() if name == "VOXRAY_MODELS"}
    folder = tmp_path_factory.mktemp("nemo-call") / "state"
    return load_config("scripted", None, {**models, "VOXRAY_STATE": str(folder), **CHANGES})


@pytest.fixture(scope="module")
def speech_24k() -> bytes:
    """The sentence in the product's voice."""
    folder: Path = ModelCatalog.load(VoxrayConfig(), process_environment()).fetch("piper-en-us-joe-medium")
    voice = PiperSynthesizer(next(folder.glob("*.onnx")), threads=1)

    async def synthesize() -> bytes:
        return b"".join([chunk.pcm_24k async for chunk in voice.synthesize(SpeechRequest(f"{SENTENCE}."))])

    return asyncio.run(synthesize())


@pytest.fixture(scope="module")
def state(config: VoxrayConfig) -> Iterator[ClusterState]:
    try:
        yield up(config, Console())
    finally:
        survivors = down(config)
    assert survivors == []


def _recognizer_pids(state: ClusterState) -> list[int]:
    with ServeApi(state.dashboard_url, state.token()) as api:
        application = api.status()["applications"]["transcriber-default-streams"]
    replicas = application["deployments"]["Transcriber"]["replicas"]
    return [replica["pid"] for replica in replicas if replica["state"] == "RUNNING"]


def _moved(state: ClusterState) -> int:
    metrics = httpx.get(f"{state.http_url}/metrics").text
    found = re.search(r'voxray_recognizer_stream_events_total\{event="moved"\} (\d+)', metrics)
    return int(found[1]) if found else 0


def test_caller_sees_words_while_speaking_and_the_whole_sentence_after(state: ClusterState, speech_24k: bytes) -> None:
    heard = SpokenCall(state.ws_url, speech_24k).say()
    (transcript,) = heard.transcripts
    marks = score(scored_words(SENTENCE), scored_words(transcript), {})
    assert marks.wrong <= MOST_WORDS_WRONG, transcript
    assert heard.partials
    assert len(heard.partials[0].split()) < len(heard.partials[-1].split())
    assert transcript.startswith(" ".join(heard.partials[-1].split()[:-1]))


def test_text_is_the_same_when_the_recogniser_is_killed_in_mid_utterance(
    state: ClusterState, speech_24k: bytes
) -> None:
    (undisturbed,) = SpokenCall(state.ws_url, speech_24k, commits=True).say().transcripts
    assert undisturbed.split()
    # Which of them has the stream is not told: one after the other, until a stream had to be moved.
    for pid in _recognizer_pids(state):
        heard = SpokenCall(state.ws_url, speech_24k, commits=True).say(psutil.Process(pid).kill)
        assert heard.transcripts == [undisturbed]
        if _moved(state):
            break
    assert _moved(state) == 1
