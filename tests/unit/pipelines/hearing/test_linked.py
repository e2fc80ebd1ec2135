from __future__ import annotations

import asyncio

import pytest

from pipelines.errors import EngineError
from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    OpenStream,
    PushAudio,
    PushMany,
    StreamFailed,
    StreamHeard,
)
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkedStream, LinkPatience
from pipelines.ports import Hypothesis
from tests.unit.pipelines.hearing.replicas import LetterReplica, pcm_of, turns_of_the_loop

pytestmark = pytest.mark.unit


def transcriber(**changes: float) -> LinkedTranscriber:
    return LinkedTranscriber(LinkPatience(**{"tick_ms": 0, **changes}))  # type: ignore[arg-type]


async def answered(stream: LinkedStream, *replicas: LetterReplica) -> Hypothesis:
    """Finalize, with the replicas at work."""
    task = asyncio.create_task(stream.finalize())
    while not task.done():
        await turns_of_the_loop(1)
        for replica in replicas:
            replica.work()
    return await task


def heard(_partial: Hypothesis) -> None:
    """Nobody looks at the partials."""


async def test_commands_of_all_streams_go_out_as_one_message_a_tick() -> None:
    linked = transcriber()
    replica = LetterReplica(linked, "one")
    streams = [linked.open(heard, tenant=f"tenant {number}") for number in (1, 2, 3)]
    for stream in streams:
        stream.push(pcm_of("a"))
        stream.push(pcm_of("b"))
    assert replica.messages == []
    await turns_of_the_loop()
    (message,) = replica.messages
    assert message == [
        *(OpenStream(number, f"tenant {number}") for number in (1, 2, 3)),
        PushMany([1, 2, 3], [pcm_of("ab")] * 3),
    ]


async def test_tick_of_much_audio_is_cut_into_commands_that_a_frame_can_hold() -> None:
    linked = transcriber()
    replica = LetterReplica(linked, "one", slots=12)
    streams = [linked.open(heard) for _ in range(12)]
    await turns_of_the_loop()
    for index, stream in enumerate(streams):
        stream.push(pcm_of("x") * (200_000 if index == 5 else 50_000))
    await turns_of_the_loop()
    pushes = replica.messages[-1]
    sizes = [sum(map(len, push.pieces)) for push in pushes if isinstance(push, PushMany)]
    assert len(sizes) > 1
    assert max(sizes) <= 512 * 1024
    replica.work()
    assert [len(replica.audio[number + 1]) for number in range(12)] == [
        400_000 if number == 5 else 100_000 for number in range(12)
    ]


async def test_finish_does_not_wait_for_the_tick_and_takes_the_audio_along() -> None:
    linked = transcriber(tick_ms=60_000)
    replica = LetterReplica(linked, "one")
    stream = linked.open(heard)
    stream.push(pcm_of("yes"))
    assert (await answered(stream, replica)).text == "yes"
    assert replica.messages == [[OpenStream(1, ""), PushAudio(1, pcm_of("yes")), FinishUtterance(1, 1)]]


async def test_finalize_over_the_same_audio_is_asked_once() -> None:
    linked = transcriber()
    replica = LetterReplica(linked, "one")
    stream = linked.open(heard)
    assert await stream.finalize() == Hypothesis("", 0, 0)
    stream.push(pcm_of("yes"))
    first, second = await asyncio.gather(answered(stream, replica), answered(stream, replica))
    assert first == second == await stream.finalize() == Hypothesis("yes", 3, 3)
    stream.push(pcm_of("!"))
    assert (await answered(stream, replica)).text == "yes!"
    asked = [command for message in replica.messages for command in message if isinstance(command, FinishUtterance)]
    assert [command.finish for command in asked] == [1, 2]


async def test_half_a_sample_waits_for_its_other_half() -> None:
    linked = transcriber()
    replica = LetterReplica(linked, "one")
    stream = linked.open(heard)
    for byte in pcm_of("odd"):
        stream.push(bytes([byte]))
        await turns_of_the_loop()
    assert (await answered(stream, replica)).text == "odd"


async def test_new_streams_go_to_the_replica_with_most_room_and_stay_there() -> None:
    linked = transcriber()
    full, empty = LetterReplica(linked, "full", slots=10, streams=8), LetterReplica(linked, "empty", slots=10)
    for _ in range(4):
        linked.open(heard)
    late = LetterReplica(linked, "late", slots=100)
    linked.open(heard)
    await turns_of_the_loop()
    assert (full.opened, empty.opened, late.opened) == (0, 4, 1)
    linked.tell_load("empty", streams=10, slots=10)
    linked.tell_load("late", streams=100, slots=100)
    linked.open(heard)
    await turns_of_the_loop()
    assert (full.opened, empty.opened, late.opened) == (1, 4, 1)


async def test_refused_stream_goes_to_the_next_replica_with_its_audio() -> None:
    linked = transcriber()
    small, other = LetterReplica(linked, "small", slots=0), LetterReplica(linked, "other", slots=9, streams=8)
    stream = linked.open(heard)
    stream.push(pcm_of("hello"))
    assert (await answered(stream, small, other)).text == "hello"
    assert linked.counts.refused == 1
    assert linked.counts.moved == 0


async def test_stream_that_all_replicas_refuse_fails_with_their_reasons_and_gets_the_next_free_slot() -> None:
    linked = transcriber()
    replicas = [LetterReplica(linked, name, slots=0) for name in ("a", "b")]
    stream = linked.open(heard)
    stream.push(pcm_of("hello"))
    with pytest.raises(EngineError, match=r"no replica takes the stream \(a: full; b: full\)") as raised:
        await answered(stream, *replicas)
    assert raised.value.retryable
    replicas[1].slots = 1
    linked.tell_load("b", streams=0, slots=1)
    assert (await answered(stream, *replicas)).text == "hello"


async def test_stream_of_a_lost_replica_is_replayed_and_its_finish_is_answered() -> None:
    linked = transcriber()
    first = LetterReplica(linked, "first")
    seen: list[Hypothesis] = []
    stream = linked.open(seen.append)
    stream.push(pcm_of("good "))
    await turns_of_the_loop()
    first.work()
    second = LetterReplica(linked, "second")
    stream.push(pcm_of("morning"))
    answer = asyncio.create_task(stream.finalize())
    await turns_of_the_loop()
    first.die()
    stream.push(pcm_of("!"))
    await turns_of_the_loop()
    second.work()
    assert (await answer).text == "good morning"
    assert second.messages[0] == [OpenStream(1, ""), PushAudio(1, pcm_of("good morning")), FinishUtterance(1, 1)]
    assert [partial.text for partial in seen] == ["good ", "good morning", "good morning!"]
    assert linked.counts.moved == linked.counts.lost_replicas == 1


async def test_replay_leaves_out_finishes_that_are_answered() -> None:
    linked = transcriber()
    first = LetterReplica(linked, "first")
    stream = linked.open(heard)
    stream.push(pcm_of("one"))
    await answered(stream, first)
    stream.push(pcm_of("two"))
    first.die()
    second = LetterReplica(linked, "second")
    await turns_of_the_loop()
    assert second.messages == [[OpenStream(1, ""), PushAudio(1, pcm_of("onetwo"))]]


async def test_partials_that_repeat_or_take_back_a_stable_prefix_are_not_published() -> None:
    linked = transcriber()
    replica = LetterReplica(linked, "one")
    seen: list[Hypothesis] = []
    linked.open(seen.append)
    await turns_of_the_loop()
    for text, stable in (("what", 2), ("what", 2), ("wax is", 2), ("whale", 1), ("whatever", 4)):
        linked.deliver("one", [StreamHeard(1, text, stable, 10)])
    assert [(partial.text, partial.stable_chars) for partial in seen] == [("what", 2), ("whale", 2), ("whatever", 4)]
    assert replica.messages


async def test_end_of_the_utterance_is_told_apart_from_news_of_the_text() -> None:
    linked = transcriber()
    LetterReplica(linked, "one")
    seen: list[Hypothesis] = []
    stream = linked.open(seen.append)
    stream.push(pcm_of("bye"))
    answer = asyncio.create_task(stream.finalize())
    await turns_of_the_loop()
    linked.deliver("one", [StreamHeard(1, "bye", 3, 10, ends_utterance=True)])
    linked.deliver("one", [StreamHeard(1, "bye", 3, 20, ends_utterance=True)])
    assert seen == [Hypothesis("bye", 3, 10), *(Hypothesis("bye", 3, at, ends_utterance=True) for at in (10, 20))]
    linked.deliver("one", [StreamHeard(1, "bye", 3, 20, 1, ends_utterance=True)])
    assert await answer == Hypothesis("bye", 3, 20, ends_utterance=True)


async def test_finalize_waits_for_a_replica_that_joins() -> None:
    linked = transcriber()
    stream = linked.open(heard)
    stream.push(pcm_of("anybody there"))
    answer = asyncio.create_task(stream.finalize())
    await turns_of_the_loop()
    assert linked.gauges() == {"replicas": 0, "pinned": 0, "waiting": 1}
    replica = LetterReplica(linked, "one")
    await turns_of_the_loop()
    replica.work()
    assert (await answer).text == "anybody there"


async def test_finalize_without_any_replica_gives_up_in_time_and_may_be_tried_again() -> None:
    linked = transcriber(wait_s=0.01)
    stream = linked.open(heard)
    stream.push(pcm_of("hello"))
    with pytest.raises(EngineError, match=r"no replica answered within 0\.01 s") as raised:
        await stream.finalize()
    assert raised.value.retryable
    replica = LetterReplica(linked, "one")
    await turns_of_the_loop()
    replica.work()
    assert (await stream.finalize()).text == "hello"


async def test_stream_leaves_a_replica_that_does_not_answer() -> None:
    linked = transcriber(answer_s=0.01)
    silent, other = LetterReplica(linked, "silent"), LetterReplica(linked, "other", slots=8, streams=7)
    silent.is_answering = False
    stream = linked.open(heard)
    stream.push(pcm_of("hello"))
    assert (await answered(stream, silent, other)).text == "hello"
    await turns_of_the_loop()
    assert [type(command) for command in silent.messages[-1]] == [CloseStream]


async def test_stream_stays_with_a_late_replica_when_there_is_no_other() -> None:
    linked = transcriber(answer_s=0.001, wait_s=0.02)
    silent = LetterReplica(linked, "silent")
    silent.is_answering = False
    stream = linked.open(heard)
    stream.push(pcm_of("hello"))
    with pytest.raises(EngineError, match="no replica answered"):
        await stream.finalize()
    assert silent.opened == 1


async def test_failure_that_no_retry_helps_is_told_and_moves_nothing() -> None:
    linked = transcriber()
    first, second = LetterReplica(linked, "first"), LetterReplica(linked, "second", streams=4)
    stream = linked.open(heard)
    stream.push(pcm_of("hello"))
    answer = asyncio.create_task(stream.finalize())
    await turns_of_the_loop()
    linked.deliver("first", [StreamFailed(1, "odd audio", retryable=False)])
    with pytest.raises(EngineError, match="first failed: odd audio") as raised:
        await answer
    assert not raised.value.retryable
    assert (first.opened, second.opened) == (1, 0)


async def test_utterance_that_costs_too_many_replicas_is_given_up() -> None:
    linked = transcriber(max_moves=2)
    stream = linked.open(heard)
    stream.push(pcm_of("poison"))
    answer = asyncio.create_task(stream.finalize())
    for name in ("a", "b", "c"):
        replica = LetterReplica(linked, name)
        await turns_of_the_loop()
        assert replica.opened == 1
        replica.die()
    with pytest.raises(EngineError, match="the link to c broke"):
        await answer


async def test_retired_replica_keeps_its_streams_and_gets_no_new_ones() -> None:
    linked = transcriber()
    leaving = LetterReplica(linked, "leaving")
    stream = linked.open(heard)
    linked.retire("leaving")
    stream.push(pcm_of("bye"))
    assert (await answered(stream, leaving)).text == "bye"
    newcomer = linked.open(heard)
    newcomer.push(pcm_of("hi"))
    await turns_of_the_loop()
    assert leaving.opened == 1
    linked.readmit("leaving")
    assert (await answered(newcomer, leaving)).text == "hi"


async def test_closed_stream_frees_its_slot_and_hears_nothing_more() -> None:
    linked = transcriber()
    replica = LetterReplica(linked, "one")
    seen: list[Hypothesis] = []
    stream = linked.open(seen.append)
    stream.push(pcm_of("hello"))
    answer = asyncio.create_task(stream.finalize())
    await turns_of_the_loop()
    await stream.aclose()
    await stream.aclose()
    replica.work()
    await turns_of_the_loop()
    replica.work()
    assert replica.audio == {}
    assert seen == []
    with pytest.raises(asyncio.CancelledError):
        await answer
    with pytest.raises(EngineError, match="closed"):
        await stream.finalize()
    assert linked.gauges() == {"replicas": 1, "pinned": 0, "waiting": 0}


async def test_audio_beyond_the_longest_utterance_is_not_kept() -> None:
    linked = transcriber(max_utterance_s=0.001)
    replica = LetterReplica(linked, "one")
    stream = linked.open(heard)
    stream.push(pcm_of("x" * 100))
    stream.push(pcm_of("y"))
    assert (await answered(stream, replica)).text == "x" * 16


async def test_long_replay_is_cut_into_pieces() -> None:
    linked = transcriber()
    stream = linked.open(heard)
    stream.push(pcm_of("x") * 400_000)
    replica = LetterReplica(linked, "one")
    await turns_of_the_loop()
    sizes = [len(command.pcm_16k) for command in replica.messages[0] if isinstance(command, PushAudio)]
    assert sum(sizes) == 800_000
    assert max(sizes) <= 256 * 1024


async def test_whole_recording_is_recognised_through_a_stream_of_its_own() -> None:
    linked = transcriber()
    replica = LetterReplica(linked, "one")
    recognition = asyncio.create_task(linked.recognize(pcm_of("a recording")))
    await turns_of_the_loop()
    replica.work()
    assert (await recognition).text == "a recording"
    await turns_of_the_loop()
    replica.work()
    assert replica.audio == {}


async def test_closing_breaks_all_links() -> None:
    linked = transcriber()
    replica = LetterReplica(linked, "one")
    linked.open(heard).push(pcm_of("x"))
    linked.close()
    assert replica.is_closed
    assert linked.gauges()["replicas"] == 0
