"""What of a call may be stored: every event of every kind, without sound and without raw text."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from pipelines.call.events import CallEvent, CallEventProjection
from pipelines.ports import AnswerFinished, AnswerNews, PassagesFound
from pipelines.session.effects import AnswerAudio, Effect, ItemAdded, Refused, SpeechStarted
from pipelines.session.items import Item, Role
from pipelines.session.stimuli import ItemDeleteRequested, Stimulus, TranscriptReady
from tests.unit.transcripts.recording import record
from tests.unit.transcripts.scenarios import RECIPES

pytestmark = pytest.mark.unit

SECRET = "4929 1234 my card"
SOUND = SECRET.encode()
KINDS = [*get_args(Stimulus), *get_args(Effect), PassagesFound, AnswerFinished]
# Fields that hold words out of lists in the code of the core.
OWN_WORDS = {("Refused", "code"), ("ResponseFinished", "reason")}


class Upper:
    """A redactor whose work can be seen."""

    def redact(self, text: str) -> str:
        return f"<{len(text)}>"


def sample(hint: Any) -> Any:
    """Return a value of a type in which every text is `SECRET` and every sound says it."""
    origin = get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        return sample(next(part for part in get_args(hint) if part is not type(None)))
    if origin in {tuple, list}:
        inner = [part for part in get_args(hint) if part is not Ellipsis]
        return origin(sample(part) for part in inner)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{field.name: sample(hints[field.name]) for field in fields(hint)})
    if issubclass(hint, Enum):
        return next(iter(hint))
    return {str: SECRET, bytes: SOUND, int: 7, float: 0.5, bool: True}[hint]


def events_of(*shown: Any, **options: Any) -> list[CallEvent]:
    events: list[CallEvent] = []
    projection = CallEventProjection("7", events.append, **options)
    for happening in shown:
        is_effect = isinstance(happening, get_args(Effect))
        projection.observe(None if is_effect else happening, [happening] if is_effect else (), 1_234)
    return events


def news(value: Any) -> Any:
    return AnswerNews(3, value) if isinstance(value, PassagesFound | AnswerFinished) else value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_event_of_any_kind_can_be_stored_and_holds_no_raw_text_and_no_sound(kind: type) -> None:
    (event,) = events_of(news(sample(kind)))

    stored = json.dumps([event.fields[name] for name in event.fields if (kind.__name__, name) not in OWN_WORDS])
    assert SECRET not in stored
    assert {field.name for field in fields(kind)} <= event.fields.keys(), "every field is told of"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_text_goes_through_the_redactor_that_is_given(kind: type) -> None:
    (event,) = events_of(news(sample(kind)), redactor=Upper())

    stored = json.dumps([event.fields[name] for name in event.fields if (kind.__name__, name) not in OWN_WORDS])
    assert stored.count(f"<{len(SECRET)}>") == json.dumps(_plain(sample(kind), kind)).count(SECRET)


def _plain(value: Any, kind: type) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if (type(value).__name__, field.name) not in OWN_WORDS]
        return [_plain(getattr(value, name), kind) for name in names]
    if isinstance(value, tuple | list):
        return [_plain(part, kind) for part in value]
    return value if isinstance(value, str) else None


def test_events_are_numbered_without_gaps_and_have_kind_and_time() -> None:
    events = events_of(SpeechStarted("item_7_1", 60), TranscriptReady("item_7_1", 2, "hello"), next_number=5)

    assert [(event.number, event.kind, event.at_ms) for event in events] == [
        (5, "speech_started", 1_234),
        (6, "transcript_ready", 1_234),
    ]
    assert events[1].fields == {
        "item_id": "item_7_1",
        "generation": 2,
        "text": "[5 characters]",
        "ends_utterance": False,
    }


def test_sound_is_told_by_its_length() -> None:
    (event,) = events_of(AnswerAudio("resp_7_1", "item_7_2", bytes(4_800)))

    assert event.fields == {"response_id": "resp_7_1", "item_id": "item_7_2", "pcm_24k": {"bytes": 4_800}}


@pytest.mark.parametrize("item_id", ["item_8_1", "item_7_55512345678", "item_7_1 call me", "anna@example.com"])
def test_an_id_that_the_server_did_not_make_is_text(item_id: str) -> None:
    (event,) = events_of(ItemDeleteRequested(item_id))

    assert event.fields["item_id"] == f"[{len(item_id)} characters]"


def test_own_words_stay_and_items_are_told_with_their_fields() -> None:
    refused, added = events_of(
        Refused("conversation_full", "no", "item"), ItemAdded(Item("item_7_1", Role.USER, text=SECRET), None)
    )

    assert refused.fields["code"] == "conversation_full"
    assert added.fields["item"]["role"] == "user"
    assert added.fields["item"]["text"] == f"[{len(SECRET)} characters]"


def test_a_whole_call_is_told_as_events_without_what_was_said() -> None:
    recipe, events = RECIPES["follow_up"], []

    def make_cast() -> Any:
        cast = recipe.make_cast()
        cast.observers = (CallEventProjection("7", events.append),)
        return cast

    record(recipe.scenario, make_cast, recipe.defaults)

    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert {"speech_started", "passages_found", "answer_finished", "response_finished"} <= {e.kind for e in events}
    stored = json.dumps([event.fields for event in events]).lower()
    for said in ("shipping", "members", "goodbye", "faq/"):
        assert said not in stored
