"""The part of a call that may be stored: numbered events, without audio and without raw text.

Every stimulus and effect that observers see becomes one `CallEvent` with the fields of its class. Values are treated by
kind, so that a field added later is safe as well:

    number, bool, enumeration, None     as it is
    sound (bytes)                       its length
    id that the server made             as it is
    word of the server's own            as it is (`_OWN_WORDS`)
    any other text                      what the `Redactor` makes of it
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from pipelines.ports import AnswerNews, Happening, Redactor
from pipelines.session.effects import Effect

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

# Text fields whose value is always one of a fixed set of words, never text from the caller, the client or the data.
_OWN_WORDS = frozenset({"code", "reason"})
_WORD_BORDER = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One thing that happened in a call.

    Attributes:
        number: 1, 2, 3, ... within the call, without a gap.
        at_ms: time of the event on the session's clock.
        kind: the name of the stimulus or effect, such as "speech_started" or "answer_failed".
        fields: its fields, as JSON.
    """

    number: int
    at_ms: int
    kind: str
    fields: dict[str, JsonValue]


class WithheldText:
    """The default redactor, which keeps only the length of a text."""

    def redact(self, text: str) -> str:
        return f"[{len(text)} characters]" if text else ""


class CallEventProjection:
    """A session observer that reports a call as events.

    Args:
        session_id: the core's session id. Ids that begin with it were made by the server.
        on_event: called with each event, in order; must not block.
        redactor: makes text safe to store.
        next_number: number of the first event; above 1 for a call that was taken over.
    """

    def __init__(
        self,
        session_id: str,
        on_event: Callable[[CallEvent], None],
        redactor: Redactor | None = None,
        *,
        next_number: int = 1,
    ) -> None:
        self._own_id = re.compile(rf"(item|resp)_{re.escape(session_id)}_\d{{1,6}}")
        self._on_event = on_event
        self._redactor = redactor or WithheldText()
        self.next_number = next_number

    def observe(self, happening: Happening | None, effects: Sequence[Effect], now_ms: int) -> None:
        if isinstance(happening, AnswerNews):
            self._tell(happening.event, now_ms, {"generation": happening.generation})
        elif happening is not None:
            self._tell(happening, now_ms)
        for effect in effects:
            self._tell(effect, now_ms)

    def _tell(self, told: Any, now_ms: int, also: dict[str, JsonValue] | None = None) -> None:
        kind = _WORD_BORDER.sub("_", type(told).__name__).lower()
        event = CallEvent(self.next_number, now_ms, kind, (also or {}) | self._fields(told))
        self.next_number += 1
        self._on_event(event)

    def _fields(self, value: Any) -> dict[str, JsonValue]:
        return {field.name: self._copy(field.name, getattr(value, field.name)) for field in fields(value)}

    def _copy(self, name: str, value: object) -> JsonValue:
        match value:
            case Enum():
                return str(value.value)
            case None | bool() | int() | float():
                return value
            case str():
                return value if name in _OWN_WORDS or self._own_id.fullmatch(value) else self._redactor.redact(value)
            case bytes():
                return {"bytes": len(value)}
            case tuple() | list():
                return [self._copy(name, part) for part in value]
            case _ if is_dataclass(value) and not isinstance(value, type):
                return self._fields(value)
        raise TypeError(f"'{name}' is of a kind that no event can hold: {type(value).__name__}")
