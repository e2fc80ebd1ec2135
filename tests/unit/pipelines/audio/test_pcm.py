from __future__ import annotations

import pytest

from pipelines.audio.pcm import PCM_16K, PCM_24K, PcmFormat

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("audio", "per_ms"), [(PCM_16K, 32), (PCM_24K, 48)])
def test_lengths_are_converted_both_ways(audio: PcmFormat, per_ms: int) -> None:
    assert audio.bytes_per_ms == per_ms
    assert audio.bytes_per_s == per_ms * 1000
    assert audio.bytes_of(250) == len(audio.silence(250)) == 250 * per_ms
    assert audio.ms_of(audio.bytes_of(250)) == 250
    assert audio.ms_of_samples(audio.samples_of(250)) == 250
    assert audio.seconds_of(audio.bytes_of(250)) == 0.25


def test_part_of_a_ms_does_not_count() -> None:
    assert PCM_16K.ms_of(63) == 1
    assert PCM_24K.ms_of_samples(47) == 1
