from __future__ import annotations

import pytest

from pipelines.wire.peer_faults import salvage_event_id

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "event_id"),
    [
        ('{"event_id": "e1", "type": ', "e1"),
        (b'{"event_id":"e2"', "e2"),
        ('{"type": "x", ' + " " * 10_000 + '"event_id": "last"', "last"),
        (b"\xff\xfe" + b'"event_id": "e3"', "e3"),
        ('{"event_id": 7', None),
        ('{"event_id": "' + "x" * 513 + '"', None),
        ("", None),
    ],
)
def test_the_id_of_a_broken_message_is_found_at_its_beginning_or_end(text: str | bytes, event_id: str | None) -> None:
    assert salvage_event_id(text) == event_id
