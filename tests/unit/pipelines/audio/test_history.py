"""The recent audio of a session, by the session's time."""

from __future__ import annotations

import pytest

from pipelines.audio.history import AudioHistory
from pipelines.audio.pcm import PCM_16K

pytestmark = pytest.mark.unit


def ms(*numbers: int) -> bytes:
    """A millisecond of audio for each number, made of it."""
    return b"".join(bytes([number]) * PCM_16K.bytes_per_ms for number in numbers)


def test_audio_is_found_by_its_time() -> None:
    history = AudioHistory(keep_ms=10)
    history.append(ms(0, 1, 2, 3))

    assert history.end_ms == 4
    assert history.since(1, 3) == ms(1, 2)
    assert history.since(2) == ms(2, 3)


def test_what_is_too_old_is_gone_and_times_stay() -> None:
    history = AudioHistory(keep_ms=4)
    for number in range(12):
        history.append(ms(number))

    assert history.end_ms == 12
    assert history.since(0)[-4 * PCM_16K.bytes_per_ms :] == ms(8, 9, 10, 11)
    assert len(history.since(0)) <= 2 * 4 * PCM_16K.bytes_per_ms
    assert history.since(10, 11) == ms(10)


def test_a_history_that_goes_on_has_the_times_of_the_one_before() -> None:
    before = AudioHistory(keep_ms=10)
    before.append(ms(*range(8)))
    after = AudioHistory(keep_ms=10, offset_bytes=before.start_bytes(5))
    after.append(before.since(5))
    for history in (before, after):
        history.append(ms(8))

    assert after.end_ms == before.end_ms == 9
    assert after.since(6) == before.since(6)
    assert after.since(0) == ms(5, 6, 7, 8)
