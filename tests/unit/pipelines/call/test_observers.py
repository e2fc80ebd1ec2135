"""Observers see a call and cannot disturb it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from pipelines.call.observers import ObserverChain
from pipelines.ports import AnswerFinished, AnswerNews, Happening, PassagesFound
from pipelines.session.effects import Effect, ResponseFinished, SpeechStarted
from pipelines.session.stimuli import AudioAppended, SpeechScored
from tests.unit.transcripts.recording import record
from tests.unit.transcripts.scenarios import RECIPES

pytestmark = pytest.mark.unit

SECRET = "my number is 4242"


class Watcher:
    """Notes all that it is shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[Happening | None, tuple[Effect, ...], int]] = []

    def observe(self, happening: Happening | None, effects: Sequence[Effect], now_ms: int) -> None:
        self.seen.append((happening, tuple(effects), now_ms))


class BrokenWatcher:
    def observe(self, happening: Happening | None, effects: Sequence[Effect], now_ms: int) -> None:
        raise ValueError(SECRET)


class OtherBrokenWatcher(BrokenWatcher):
    """Broken in its own right."""


def play(*observers: Any) -> list[str]:
    recipe = RECIPES["semantic_vad_turn"]

    def make_cast() -> Any:
        cast = recipe.make_cast()
        cast.observers = observers
        return cast

    return record(recipe.scenario, make_cast, recipe.defaults)


def test_a_call_with_broken_observers_is_as_without(caplog: pytest.LogCaptureFixture) -> None:
    watcher = Watcher()

    assert play(BrokenWatcher(), watcher, OtherBrokenWatcher()) == play()
    assert watcher.seen, "an observer behind a broken one sees the call"


def test_each_failure_is_counted_and_the_first_of_each_observer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    counts: Counter[str] = Counter()
    chain = ObserverChain([BrokenWatcher(), OtherBrokenWatcher()], lambda name: counts.update([name]))

    with caplog.at_level(logging.ERROR):
        for now_ms in range(3):
            chain.observe(AudioAppended(20), (), now_ms)

    assert counts == {"BrokenWatcher": 3, "OtherBrokenWatcher": 3}
    assert len(caplog.records) == 2
    assert 'File "' in caplog.text
    assert SECRET not in caplog.text


def test_an_observer_is_shown_passages_and_the_answers_end_as_it_is_shown_stimuli() -> None:
    watcher = Watcher()
    play(watcher)

    news = [happening for happening, _, _ in watcher.seen if isinstance(happening, AnswerNews)]
    assert [type(told.event) for told in news] == [PassagesFound, AnswerFinished]
    assert len({told.generation for told in news}) == 1


def test_an_observer_is_shown_frames_and_scores_only_with_their_effects() -> None:
    watcher = Watcher()
    play(watcher)

    idle = [
        happening
        for happening, effects, _ in watcher.seen
        if isinstance(happening, AudioAppended | SpeechScored) and not effects
    ]
    assert idle == []
    effects = [effect for _, effects, _ in watcher.seen for effect in effects]
    assert any(isinstance(effect, SpeechStarted) for effect in effects)
    assert any(isinstance(effect, ResponseFinished) for effect in effects)
    assert [now_ms for *_, now_ms in watcher.seen] == sorted(now_ms for *_, now_ms in watcher.seen)
