"""What is posted to a thread that owns something is run or refused, and never lost."""

from __future__ import annotations

import threading

import pytest

from deployments.engines.owned_thread import OwnedThread

pytestmark = pytest.mark.unit


class Owner:
    """Counts its turns; sleeps between them."""

    def __init__(self, *, failing: str = "") -> None:
        self.failing = failing
        self.seen: list[str] = []
        self.turned = threading.Event()
        self.thread = OwnedThread("owner", set_up=self._set_up, turn=self._turn, end=self._end)

    def _set_up(self) -> None:
        self._note("set up")

    def _turn(self) -> None:
        self.turned.set()
        self._note("turn")
        self.thread.sleep()

    def _end(self) -> None:
        self._note("end")

    def _note(self, what: str) -> None:
        self.seen.append(f"{what} in {threading.current_thread().name}")
        if what == self.failing:
            raise ValueError(what)


def test_everything_happens_in_the_thread_and_in_order() -> None:
    owner = Owner()
    owner.thread.start()
    done = threading.Event()
    assert owner.thread.post(done.set)
    assert done.wait(30)
    was_alive = owner.thread.is_alive
    owner.thread.stop()
    owner.thread.stop()
    assert (was_alive, owner.thread.is_alive) == (True, False)
    assert (owner.seen[0], owner.seen[-1]) == ("set up in owner", "end in owner")
    assert owner.thread.failure is None


def test_failure_to_set_up_is_raised_where_the_thread_was_started() -> None:
    owner = Owner(failing="set up")
    with pytest.raises(ValueError, match="set up"):
        owner.thread.start()
    assert not owner.thread.post(lambda: None)


def test_failure_of_a_turn_ends_the_thread_and_is_kept() -> None:
    owner = Owner(failing="turn")
    owner.thread.start()
    assert owner.turned.wait(30)
    owner.thread.stop()
    assert isinstance(owner.thread.failure, ValueError)
    assert owner.seen[-1] == "end in owner"
    assert not owner.thread.is_alive


def test_an_action_posted_while_the_last_turn_runs_is_run_before_the_end() -> None:
    said: list[str] = []
    began, may_go_on = threading.Event(), threading.Event()

    def turn() -> None:
        began.set()
        may_go_on.wait(30)

    thread = OwnedThread("owner", set_up=lambda: None, turn=turn, end=lambda: said.append("end"))
    thread.start()
    assert began.wait(30)
    stopper = threading.Thread(target=thread.stop)
    stopper.start()
    while not thread.is_stopping:
        pass
    assert thread.post(lambda: said.append("action"))
    may_go_on.set()
    stopper.join()
    assert said == ["action", "end"]
    assert not thread.post(lambda: said.append("too late"))
    assert said == ["action", "end"]
