from __future__ import annotations

import pytest

from deployments.stage_link.keeper import RedialPause

pytestmark = pytest.mark.unit


def test_pause_grows_to_a_bound_and_is_short_again_after_the_recogniser_has_joined() -> None:
    pause = RedialPause()
    pauses_s = [pause.next_s() for _ in range(8)]
    assert pauses_s[:3] == [0.1, 0.2, 0.4]
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[-1] == pauses_s[-2] == 2.0
    pause.reset()
    assert pause.next_s() == 0.1


def test_the_pause_of_one_recogniser_says_nothing_of_another() -> None:
    lost, other = RedialPause(), RedialPause()
    for _ in range(4):
        lost.next_s()
    other.reset()
    assert lost.next_s() == 1.6
