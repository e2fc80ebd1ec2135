from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.streaming.schedule import ScheduleLimits, StreamSchedule

pytestmark = pytest.mark.unit

FIRST_BYTES = 64  # 2 ms
CHUNK_BYTES = 320  # 10 ms
A, B, C = (1, 0), (1, 1), (2, 0)


def make_schedule(*, max_streams: int = 3, max_batch: int = 3, gather_ms: int = 4) -> StreamSchedule:
    limits = ScheduleLimits(FIRST_BYTES, CHUNK_BYTES, max_streams, max_batch, gather_ms, max_backlog_ms=1000)
    return StreamSchedule(limits)


def with_streams(*keys: tuple[int, int], max_batch: int = 3) -> StreamSchedule:
    schedule = make_schedule(max_batch=max_batch)
    for key in keys:
        schedule.open(key, 0)
    return schedule


def taken(schedule: StreamSchedule, now_ms: int) -> list[tuple[tuple[int, int], int]]:
    return [(chunk.key, chunk.due_ms) for chunk in schedule.take_chunks(now_ms)]


def test_slots_run_out_and_come_back() -> None:
    schedule = make_schedule(max_streams=2)
    assert (schedule.open(A, 0), schedule.open(B, 0), schedule.open(C, 0)) == (0, 1, None)
    assert schedule.close(A) == 0
    assert schedule.close(A) is None
    assert schedule.open(C, 0) == 0
    assert schedule.free_slots == 0


def test_first_chunk_is_shorter_and_waits_for_company_before_its_tick() -> None:
    schedule = with_streams(A)
    assert schedule.wait_ms(0) is None
    schedule.push(A, bytes(FIRST_BYTES - 1), 10)
    assert schedule.wait_ms(10) is None
    schedule.push(A, bytes(1), 11)
    assert (schedule.wait_ms(11), schedule.wait_ms(14), schedule.wait_ms(15)) == (4, 1, 0)
    (chunk,) = schedule.take_chunks(15)
    assert (len(chunk.pcm_16k), chunk.due_ms) == (FIRST_BYTES, 11)


def test_a_full_batch_does_not_wait() -> None:
    schedule = with_streams(A, B, max_batch=2)
    schedule.push(A, bytes(FIRST_BYTES), 10)
    schedule.push(B, bytes(FIRST_BYTES), 10)
    assert schedule.wait_ms(10) == 0


def test_a_burst_is_due_at_the_pace_of_speech_and_yields_to_callers_in_real_time() -> None:
    schedule = with_streams(A, B, max_batch=1)
    schedule.push(A, bytes(FIRST_BYTES + 3 * CHUNK_BYTES), 100)
    assert taken(schedule, 104) == [(A, 100)]
    assert schedule.wait_ms(104) == 0, "what waits is stepped at once when nobody else needs the tick"
    assert taken(schedule, 104) == [(A, 110)]
    schedule.push(B, bytes(FIRST_BYTES), 105)
    assert taken(schedule, 109) == [(B, 105)]
    assert taken(schedule, 109) == [(A, 120)]


def test_a_tick_takes_one_chunk_of_each_stream() -> None:
    schedule = with_streams(A, B)
    schedule.push(A, bytes(FIRST_BYTES + 9 * CHUNK_BYTES), 0)
    schedule.push(B, bytes(FIRST_BYTES), 0)
    assert [key for key, _ in taken(schedule, 4)] == [A, B]
    assert [key for key, _ in taken(schedule, 4)] == [A]


def test_lag_of_an_overloaded_caller_grows_from_the_time_of_speech() -> None:
    schedule = with_streams(A)
    for now_ms in range(0, 40, 10):
        schedule.push(A, bytes(CHUNK_BYTES), now_ms)
    dues = [due for now_ms in (40, 60, 80) for _, due in taken(schedule, now_ms)]
    assert dues == [0, 10, 20]


def test_finish_is_urgent_and_answers_for_the_rest() -> None:
    schedule = with_streams(A)
    schedule.push(A, bytes(range(64)) + bytes(10), 0)
    schedule.finish(A, 7, 1)
    schedule.finish(A, 8, 1)
    assert schedule.wait_ms(1) == 0
    assert schedule.take_rests() == [], "a whole chunk comes first"
    assert taken(schedule, 1) == [(A, 0)]
    (rest,) = schedule.take_rests()
    assert (rest.pcm_16k, rest.finishes, rest.audio_ms) == (bytes(10), (7, 8), 2)
    assert schedule.take_rests() == []
    assert schedule.wait_ms(1) is None


def test_no_chunk_reaches_past_a_finish() -> None:
    schedule = with_streams(A)
    schedule.push(A, b"\x01" * 11, 0)
    schedule.finish(A, 1, 0)
    schedule.push(A, b"\x02" * 100, 0)
    assert taken(schedule, 0) == []
    (rest,) = schedule.take_rests()
    assert rest.pcm_16k == b"\x01" * 10, "half a sample is not audio yet"
    (chunk,) = schedule.take_chunks(0)
    assert chunk.pcm_16k == (b"\x01" * 11 + b"\x02" * 100)[:FIRST_BYTES]


def test_finish_of_a_burst_is_due_before_what_comes_later() -> None:
    schedule = with_streams(A, B, max_batch=1)
    schedule.push(A, bytes(FIRST_BYTES + 2 * CHUNK_BYTES), 0)
    schedule.finish(A, 1, 0)
    schedule.push(B, bytes(FIRST_BYTES), 5)
    assert [taken(schedule, 5)[0][0] for _ in range(4)] == [A, A, A, B]


def test_too_much_waiting_audio_is_refused_whole() -> None:
    schedule = with_streams(A)
    assert schedule.push(A, bytes(32_000), 0)
    assert not schedule.push(A, bytes(1), 0)
    assert schedule.backlog_ms() == 990


def test_only_streams_without_work_are_idle() -> None:
    schedule = with_streams(A, B, C)
    schedule.push(B, bytes(FIRST_BYTES), 0)
    schedule.push(C, bytes(1), 60)
    assert schedule.idle(100, 100) == [A]


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.integers(0, 900)), max_size=30))
def test_chunks_hold_all_audio_in_order(pushes: list[tuple[tuple[int, int], int]]) -> None:
    schedule = with_streams(A, B, C, max_batch=2)
    said: dict[tuple[int, int], bytes] = {A: b"", B: b"", C: b""}
    heard = dict(said)
    for index, (key, size) in enumerate(pushes):
        audio = bytes((index + byte) % 251 for byte in range(size))
        schedule.push(key, audio, index)
        said[key] += audio
    while schedule.wait_ms(1000) is not None:
        for chunk in schedule.take_chunks(1000):
            heard[chunk.key] += chunk.pcm_16k
    for key in said:
        schedule.finish(key, 0, 2000)
        (rest,) = schedule.take_rests()
        assert heard[key] + rest.pcm_16k == said[key][: len(said[key]) // 2 * 2]
