"""Linked recognition under random histories of replicas: the caller notices nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkPatience
from pipelines.ports import Hypothesis
from tests.unit.pipelines.hearing.replicas import LetterReplica, pcm_of, turns_of_the_loop

pytestmark = pytest.mark.unit

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.text("abcdef ", min_size=1, max_size=6)),
        st.tuples(st.sampled_from(["work", "kill", "drain"]), st.integers(0, 5)),
        st.tuples(st.sampled_from(["join", "finalize", "turn", "load"]), st.just(0)),
    ),
    max_size=40,
)


class History:
    """One utterance through replicas that come and go, and what its caller sees."""

    def __init__(self) -> None:
        self.linked = LinkedTranscriber(patience=LinkPatience(tick_ms=0, max_moves=1000))
        self.replicas: list[LetterReplica] = []
        self.seen: list[Hypothesis] = []
        self.said = ""
        self.asked: list[tuple[str, asyncio.Task[Hypothesis]]] = []
        self.stream = self.linked.open(self.seen.append)
        self.names = 0

    async def act(self, action: str, value: str | int) -> None:
        acts: dict[str, Callable[[], None]] = {
            "join": self.join,
            "finalize": self.ask,
            "load": lambda: [self.linked.tell_load(one.name, streams=0, slots=8) for one in self.replicas] and None,
        }
        if action == "push":
            self.said += str(value)
            self.stream.push(pcm_of(str(value)))
        elif action == "turn":
            await turns_of_the_loop(1)
        elif action in acts:
            acts[action]()
        elif self.replicas:
            self.disturb(action, self.replicas[int(value) % len(self.replicas)])

    def join(self) -> None:
        self.names += 1
        replica = LetterReplica(self.linked, str(self.names))
        replica.says_each_letter = True
        self.replicas.append(replica)

    def ask(self) -> None:
        self.asked.append((self.said, asyncio.create_task(self.stream.finalize())))

    def disturb(self, action: str, replica: LetterReplica) -> None:
        if action == "work":
            replica.work()
        elif action == "drain":
            self.linked.retire(replica.name)
        else:
            replica.die()
            self.replicas.remove(replica)

    async def end(self) -> None:
        await turns_of_the_loop(1)
        self.join()
        self.ask()
        while not all(task.done() for _, task in self.asked):
            await turns_of_the_loop(1)
            for replica in self.replicas:
                replica.work()


@given(actions=ACTIONS)
@settings(max_examples=300, deadline=None)
def test_final_text_and_partials_are_those_of_the_undisturbed_run(actions: list[tuple[str, str | int]]) -> None:
    async def run() -> History:
        history = History()
        for action, value in actions:
            await history.act(action, value)
        await history.end()
        return history

    history = asyncio.run(run())
    for said, task in history.asked:
        # A finish asked within a turn of the loop covers what was pushed until it began to run.
        assert task.result().text.startswith(said)
    assert history.asked[-1][1].result().text == history.said
    for before, after in pairwise(history.seen):
        assert after.text.startswith(before.text[: before.stable_chars])
        assert after.stable_chars >= before.stable_chars
        assert (after.text, after.stable_chars) != (before.text, before.stable_chars)
        assert len(after.text) > len(before.text)  # this recogniser never takes a letter back
