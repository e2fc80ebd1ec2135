"""The configured voice says a text into a file, without a cluster."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cluster.config.loading import load_config
from cluster.config.parts import Addresses, PoolPart
from deployments.commands.speak import main
from pipelines.audio.wav import pcm_16k_from_wav
from pipelines.errors import Component

pytestmark = pytest.mark.unit


def test_text_becomes_a_recording_that_is_longer_for_more_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config("scripted", None, {})
    part = PoolPart.of(config, Component.SYNTHESIZER, "default", Addresses(), {})
    lengths = []
    for text in ("Hello.", "Hello, how can I help you with your order today?"):
        file = tmp_path / "said.wav"
        monkeypatch.setattr("sys.argv", ["speak", str(file), text])
        monkeypatch.setattr("sys.stdin", io.StringIO(part.model_dump_json()))
        main()
        lengths.append(len(pcm_16k_from_wav(file.read_bytes())))
    assert 0 < lengths[0] < lengths[1]
