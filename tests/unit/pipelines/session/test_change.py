"""A stimulus happens as a whole or not at all."""

from __future__ import annotations

import pytest

from pipelines.session.change import Change
from pipelines.session.effects import Refused
from pipelines.session.settings import SessionSettings
from pipelines.session.state import SessionState

pytestmark = pytest.mark.unit


def test_what_was_changed_since_it_was_kept_is_undone() -> None:
    state = SessionState("s", SessionSettings())
    change = Change(state, now_ms=100)
    first = change.new_item_id()
    change.keep()
    assert change.new_item_id() != first
    change.keep()  # notes nothing: the first state is the one to go back to
    change.new_generation()
    change.undo()
    again = Change(state, now_ms=200)
    assert again.new_item_id() == "item_s_2"
    assert again.new_generation() == 1


def test_ids_are_numbered_by_kind() -> None:
    change = Change(SessionState("s", SessionSettings()), now_ms=0)
    assert [change.new_item_id(), change.new_response_id(), change.new_item_id()] == [
        "item_s_1",
        "resp_s_1",
        "item_s_2",
    ]


def test_a_refusal_is_an_effect_and_changes_nothing() -> None:
    change = Change(SessionState("s", SessionSettings()), now_ms=0)
    change.refuse("invalid_value", "No.", param="x", event_id="e")
    assert change.effects == [Refused("invalid_value", "No.", "x", "e")]
    change.undo()
    assert change.new_generation() == 1
