"""A call that is left at any moment goes on with another runner, as if nothing had been."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from pipelines.call.snapshot import SnapshotError, load_call
from tests.unit.transcripts.takeover import TIMELINES, Sent, from_left, undisturbed, until_left

pytestmark = pytest.mark.unit

# Engines take longer when they begin again. By meaning, the end of a turn depends on that; so does, in an answer of
# several parts, whether sound or the next words come first; and after an interruption, how much has been heard.
LATER = ["two questions by meaning", "an answer in parts"]
EXACT = sorted(TIMELINES.keys() - {*LATER, "an interruption"})
CATCHING_UP_MS = 150
baseline = cache(lambda name: undisturbed(TIMELINES[name]))


def taken_over(name: str, cuts_ms: list[float]) -> list[Sent]:
    """Play a call that is left and taken over at each of the cuts."""
    timeline, left = TIMELINES[name], None
    sent: list[Sent] = []
    for cut_ms in cuts_ms:
        part, data = until_left(timeline, cut_ms, left)
        sent += part
        left = (cut_ms, data)
    return sent + from_left(timeline, *left)


def cuts(name: str, *, in_speech: bool = False) -> st.SearchStrategy[list[float]]:
    timeline = TIMELINES[name]
    moments = st.integers(1, timeline.length_ms * 10 - 1).map(lambda tenths: tenths / 10)
    if in_speech:
        moments = moments.filter(timeline.is_speech)
    return st.lists(moments, min_size=1, max_size=3, unique=True).map(sorted)


def said(sent: list[Sent]) -> dict[str, Any]:
    """What caller and agent have said, in order, and what became of it."""
    events = [json.loads(message.text) for message in sent]
    audio: dict[str, bytes] = {}
    for event in events:
        if event["type"] == "response.output_audio.delta":
            audio[event["item_id"]] = audio.get(event["item_id"], b"") + base64.b64decode(event["delta"])
    return {
        "heard": [
            (event["item_id"], event["transcript"])
            for event in events
            if event["type"] == "conversation.item.input_audio_transcription.completed"
        ],
        "answered": [
            (event["response"]["id"], event["response"]["status"], event["response"]["output"])
            for event in events
            if event["type"] == "response.done"
        ],
        "spoken": {item_id: hashlib.sha256(pcm).hexdigest() for item_id, pcm in audio.items()},
        "ids": [event["event_id"] for event in events],
    }


@pytest.mark.parametrize("name", EXACT)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_call_that_is_taken_over_at_any_moment_sends_what_the_undisturbed_one_does(name: str, data: Any) -> None:
    moments = data.draw(cuts(name))

    assert [message.text for message in taken_over(name, moments)] == [message.text for message in baseline(name)]


@pytest.mark.parametrize("name", TIMELINES)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_call_that_is_taken_over_in_mid_utterance_is_as_the_undisturbed_one_in_time_too(name: str, data: Any) -> None:
    moments = data.draw(cuts(name, in_speech=True))
    played = taken_over(name, moments)

    assert [message.text for message in played] == [message.text for message in baseline(name)]
    # Two loops may round a time to different sides; a recogniser that streams has to hear the utterance again first.
    late_ms = CATCHING_UP_MS if TIMELINES[name].is_linked else 1
    assert all(-1 <= a.at_ms - b.at_ms <= late_ms for a, b in zip(played, baseline(name), strict=True))


@pytest.mark.parametrize("name", LATER)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_wherever_a_call_is_taken_over_nothing_is_lost_or_said_twice(name: str, data: Any) -> None:
    moments = data.draw(cuts(name))

    assert said(taken_over(name, moments)) == said(baseline(name))


@pytest.mark.parametrize("name", ["two questions", "telephone", "without drafts"])
def test_a_call_that_is_taken_over_in_the_middle_of_its_answer_sends_each_sample_once(name: str) -> None:
    sounds = [message.at_ms for message in baseline(name) if "output_audio.delta" in message.text]
    for cut_ms in (sounds[len(sounds) // 4] + 0.5, sounds[len(sounds) // 3] + 12.0):
        assert [sent.text for sent in taken_over(name, [cut_ms])] == [sent.text for sent in baseline(name)]


def test_the_timelines_say_what_they_should() -> None:
    """The comparison above would hold for calls in which nothing happens, too."""
    for name in TIMELINES:
        told = said(baseline(name))
        assert told["heard"]
        assert all(transcript for _, transcript in told["heard"])
        assert any(status == "completed" for _, status, _ in told["answered"])
        assert bool(told["spoken"]) == ("text" not in name)
    assert [status for _, status, _ in said(baseline("an interruption"))["answered"]] == ["cancelled", "completed"]


def test_a_damaged_snapshot_is_refused_without_telling_what_was_said() -> None:
    _, data = until_left(TIMELINES["two questions"], 4_500.0)
    stored = json.loads(data)
    stored["core"]["items"][0]["role"] = "my number is 4242"

    with pytest.raises(SnapshotError, match=r"core\.items\.0\.role") as refused:
        load_call(json.dumps(stored).encode())
    assert "4242" not in str(refused.value)


@pytest.mark.parametrize("version", [1, 2, 4])
def test_a_snapshot_of_another_version_is_refused(version: int) -> None:
    _, data = until_left(TIMELINES["two questions"], 100.0)
    stored = json.loads(data) | {"version": version}

    with pytest.raises(SnapshotError, match="version"):
        load_call(json.dumps(stored).encode())


def test_a_snapshot_in_silence_holds_little_audio() -> None:
    _, data = until_left(TIMELINES["two questions"], 5_700.0)
    runner = load_call(data).runner

    assert len(runner.pcm_16k) <= 3_000 * 32
    assert runner.audio_offset_bytes > 0
