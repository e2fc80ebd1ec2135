from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from cluster.config.schema import TranscriberConfig, VoxrayConfig
from deployments.engine_choice import EngineChoice, nemo_settings
from deployments.gateway.hearing import open_hearing
from deployments.gateway.metrics import GatewayMetrics
from deployments.stage_link.keeper import Found
from pipelines.errors import ConfigError
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.windowed import Recognition, WindowedTranscriber
from tests.unit.pipelines.hearing.replicas import LetterReplica, turns_of_the_loop

pytestmark = pytest.mark.unit


async def whole(_pcm_16k: bytes) -> Recognition:
    return Recognition("whole")


async def nobody() -> Found:
    return Found([])


async def test_gateway_sends_whole_utterances_where_nobody_streams() -> None:
    async with open_hearing(VoxrayConfig(), whole, None) as hearing:
        assert isinstance(hearing.transcriber, WindowedTranscriber)
        assert hearing.links is None
        await hearing.warm_up()
        assert (await hearing.recognize(b"")).text == "whole"


async def test_gateway_is_warm_when_the_first_recogniser_has_answered() -> None:
    async with open_hearing(VoxrayConfig(), whole, nobody) as hearing:
        assert isinstance(hearing.links, LinkedTranscriber)
        warming = asyncio.create_task(hearing.warm_up())
        await turns_of_the_loop()
        assert not warming.done()
        replica = LetterReplica(hearing.links, "one")
        while not warming.done():
            await turns_of_the_loop(1)
            replica.work()
        await warming
        assert replica.opened == 1


def test_links_show_in_the_metrics_of_a_gateway_that_has_some() -> None:
    metrics, linked = GatewayMetrics(), LinkedTranscriber()
    metrics.watch_links(None)
    assert b"voxray_recognizers" not in generate_latest(metrics.registry)
    metrics.watch_links(linked)
    LetterReplica(linked, "one")
    linked.lose("one")
    shown = generate_latest(metrics.registry).decode()
    assert "voxray_recognizers 0.0" in shown
    assert "voxray_recognizer_links_lost_total 1.0" in shown


def test_configuration_runs_nemo_as_it_says() -> None:
    section = TranscriberConfig.model_validate(
        {
            "engine": "nemo", "chunk_ms": 560, "max_streams": 12, "device": "cpu", "decoder": "ctc",
            "phrases": [{"phrases": ["Larkspur"]}, {"tenant": "acme", "phrases": ["Anvil"]}],
            "replicas": {"threads": 2},
        }
    )  # fmt: skip
    settings = nemo_settings(section, Path("model.nemo"))
    assert (settings.chunk_ms, settings.device, settings.decoder, settings.threads) == (560, "cpu", "ctc", 2)
    assert settings.phrases == {"": ("Larkspur",), "acme": ("Anvil",)}
    assert settings.stepper.slots == settings.loop.max_streams == 12
    assert nemo_settings(TranscriberConfig(), Path("model.nemo")).loop.max_streams == 0


@pytest.mark.parametrize(
    ("setting", "decoder", "taken"),
    [("auto", "ctc", "model.lm"), ("auto", "rnnt", None), ("none", "ctc", None), ("/shop.arpa", "ctc", "shop.arpa")],
)
def test_language_model_is_the_one_beside_the_model_or_as_said(
    tmp_path: Path, setting: str, decoder: str, taken: str | None
) -> None:
    (tmp_path / "model.lm").write_bytes(b"")
    section = TranscriberConfig.model_validate({"language_model": setting, "language_weight": 0.5, "decoder": decoder})
    settings = nemo_settings(section, tmp_path / "model.nemo")
    assert (settings.language_model and settings.language_model.name) == taken
    assert settings.beam.weight == 0.5


def test_no_language_model_is_taken_where_none_lies(tmp_path: Path) -> None:
    assert nemo_settings(TranscriberConfig(), tmp_path / "model.nemo").language_model is None


def test_engine_that_takes_whole_utterances_streams_nothing() -> None:
    with pytest.raises(ConfigError, match="whisper-ct2 does not stream"):
        EngineChoice(VoxrayConfig(), {}).streaming_recognizer()
