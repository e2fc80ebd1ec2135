"""The table of pins is arithmetic: no loop, no link, no clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.hearing.pins import Pin, PinTable

pytestmark = pytest.mark.unit


def table(**changes: float) -> PinTable[str]:
    return PinTable(**{"max_moves": 2, "answer_s": 3.0, **changes})  # type: ignore[arg-type]


def place(pins: PinTable[str], stream: str, *, audio_s: float = 0.0, now_s: float = 0.0) -> Pin | None:
    return pins.place(stream, audio_s=audio_s, now_s=now_s)


def test_stream_goes_to_the_replica_with_most_room() -> None:
    pins = table()
    pins.join("full", streams=6, slots=10)
    pins.join("empty", streams=0, slots=10)
    assert [place(pins, name) for name in "ab"] == [Pin("empty", 1, 3.0), Pin("empty", 2, 3.0)]
    pins.note_load("empty", streams=9, slots=10, accepts_new=True)
    assert place(pins, "c") == Pin("full", 1, 3.0)
    assert pins.stream_at("full", 1) == "c"
    assert pins.gauges() == {"replicas": 2, "pinned": 3, "waiting": 0}


def test_streams_opened_and_ended_since_the_last_word_of_a_replica_count() -> None:
    pins = table()
    pins.join("one", streams=0, slots=2)
    pins.join("two", streams=1, slots=2)
    place(pins, "a")
    pins.forget("a")
    assert place(pins, "b") == Pin("one", 2, 3.0)


def test_answer_is_late_only_after_the_replica_could_hear_what_it_got_at_once() -> None:
    pins = table(answer_s=3.0)
    pins.join("one", streams=0, slots=2)
    place(pins, "a", audio_s=10.0, now_s=100.0)
    assert not pins.is_late("a", 104.9)
    assert pins.is_late("a", 105.0)
    assert not pins.is_late("nobody", 1e9)


def test_stream_waits_with_the_reasons_and_is_tried_again_when_there_is_room() -> None:
    pins = table()
    assert place(pins, "a") is None
    assert pins.refusals("a") == ""
    pins.join("one", streams=2, slots=2)
    assert pins.waiting_for("one") == ("a",)
    assert place(pins, "a") is not None
    pins.unpin("a")
    pins.avoid("a", "one", "all 2 streams are taken")
    assert not pins.can_place("a")
    assert place(pins, "a") is None
    assert pins.refusals("a") == "one: all 2 streams are taken"
    assert not pins.note_load("one", streams=2, slots=2, accepts_new=True)
    assert pins.note_load("one", streams=1, slots=2, accepts_new=True)
    assert pins.waiting_for("one") == ("a",)
    assert place(pins, "a") == Pin("one", 2, 3.0)


def test_replica_that_is_retired_or_refuses_new_ones_keeps_what_it_has() -> None:
    pins = table()
    pins.join("one", streams=0, slots=2)
    place(pins, "a")
    pins.retire("one")
    assert place(pins, "b") is None
    assert pins.pin_of("a") == Pin("one", 1, 3.0)
    assert pins.readmit("one")
    assert not pins.readmit("one")
    pins.note_load("one", streams=1, slots=2, accepts_new=False)
    assert place(pins, "b") is None
    assert pins.gauges() == {"replicas": 0, "pinned": 1, "waiting": 1}


def test_stream_may_lose_so_many_replicas_and_no_more() -> None:
    pins = table(max_moves=1)
    pins.join("one", streams=0, slots=2)
    place(pins, "a")
    assert pins.lose("one") == ("a",)
    assert pins.pin_of("a") is None
    assert pins.count_move("a")
    assert not pins.count_move("a")


def test_of_a_stream_that_is_closed_nothing_is_left() -> None:
    pins = table()
    place(pins, "waits")
    pins.forget("waits")
    pins.join("one", streams=0, slots=2)
    place(pins, "a")
    pins.avoid("a", "one", "late")
    pins.forget("a")
    pins.forget("a")
    assert pins.stream_at("one", 1) is None
    assert pins.gauges() == {"replicas": 1, "pinned": 0, "waiting": 0}
    assert place(pins, "a") == Pin("one", 2, 3.0)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["join", "lose", "load", "retire", "readmit", "place", "refuse", "forget"]),
        st.sampled_from("xyz"),
        st.sampled_from("abcdef"),
    ),
    max_size=60,
)


class History:
    """Does what it is told where that is possible, and checks the numbers that are given out."""

    def __init__(self) -> None:
        self.pins = table(max_moves=1000)
        self.joins = dict.fromkeys("xyz", 0)
        self.given_out = set[tuple[str, int, int]]()

    def act(self, action: str, name: str, stream: str) -> None:
        match action:
            case "join" if not self.pins.has_replica(name):
                self.joins[name] += 1
                self.pins.join(name, streams=0, slots=4)
            case "lose" if self.pins.has_replica(name):
                self.pins.lose(name)
            case "load":
                self.pins.note_load(name, streams=1, slots=4, accepts_new=True)
            case "retire":
                self.pins.retire(name)
            case "readmit":
                self.pins.readmit(name)
            case "forget":
                self.pins.forget(stream)
            case "place" | "refuse":
                self.settle(action, stream)

    def settle(self, action: str, stream: str) -> None:
        pin = self.pins.pin_of(stream)
        if pin is not None and action == "refuse":
            self.pins.unpin(stream)
            self.pins.avoid(stream, pin.replica, "no")
        elif pin is None and action == "place" and (pin := place(self.pins, stream)) is not None:
            numbered = (pin.replica, self.joins[pin.replica], pin.number)
            assert numbered not in self.given_out
            self.given_out.add(numbered)


@given(ACTIONS)
def test_a_stream_is_at_one_replica_or_waits_or_neither_and_numbers_are_not_used_again(
    actions: list[tuple[str, str, str]],
) -> None:
    history = History()
    pins = history.pins
    for action in actions:
        history.act(*action)
        pinned = {each: pin for each in "abcdef" if (pin := pins.pin_of(each)) is not None}
        assert all(pins.stream_at(pin.replica, pin.number) == each for each, pin in pinned.items())
        assert pins.gauges()["pinned"] == len(pinned)
        assert not set(pins.waiting_for("nobody")) & pinned.keys()
