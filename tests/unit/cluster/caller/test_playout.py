from __future__ import annotations

import pytest

from cluster.caller.playout import Playout
from pipelines.audio.pcm import PCM_24K

pytestmark = pytest.mark.unit


def test_a_listener_hears_a_gap_when_a_piece_comes_after_the_one_before_has_ended() -> None:
    playout = Playout()
    playout.play(PCM_24K.silence(100), 5.0)
    playout.play(PCM_24K.silence(100), 5.05)  # 150 ms are left to play
    assert playout.gaps_ms == []
    playout.play(PCM_24K.silence(100), 5.25)
    playout.play(PCM_24K.silence(100), 5.45)
    assert playout.gaps_ms == pytest.approx([50.0, 100.0])
    assert playout.longest_gap_ms == pytest.approx(100.0)
    assert (playout.first_at_s, PCM_24K.ms_of(len(playout.pcm_24k))) == (5.0, 400)


def test_what_came_at_once_has_no_gaps() -> None:
    playout = Playout()
    for _ in range(5):
        playout.play(PCM_24K.silence(20), 1.0)
    assert playout.longest_gap_ms == 0.0
