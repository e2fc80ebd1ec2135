"""Conversation items: what was said and written, in order, by id."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"


class ItemKind(StrEnum):
    MESSAGE = "message"
    FUNCTION_CALL = "function_call"
    FUNCTION_CALL_OUTPUT = "function_call_output"


class ItemStatus(StrEnum):
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class WordMark:
    """A spoken word: it begins to sound `start_ms` into the item's audio and ends at offset `end_char` of its text."""

    end_char: int
    start_ms: int


@dataclass(frozen=True, slots=True)
class Item:
    """One conversation item; replaced, never changed.

    Attributes:
        text: what was written, spoken (assistant) or recognised (user); None while recognition is under way.
        is_audio: the content is audio (`input_audio` / `output_audio`), else text.
        audio_ms: length of the item's audio.
        heard_ms: assistant audio only: how much the caller has heard when it was cut off; None when not cut off.
        words: assistant audio only, in order.
        call_id, name: function items only; `text` then holds arguments or output.
    """

    id: str
    role: Role
    kind: ItemKind = ItemKind.MESSAGE
    text: str | None = None
    is_audio: bool = False
    audio_ms: int = 0
    heard_ms: int | None = None
    words: tuple[WordMark, ...] = ()
    status: ItemStatus = ItemStatus.COMPLETED
    call_id: str = ""
    name: str = ""

    @property
    def heard_text(self) -> str:
        """The text up to the last word that had begun to sound when the caller cut the item off."""
        text = self.text or ""
        if self.heard_ms is None:
            return text
        heard = [word.end_char for word in self.words if word.start_ms < self.heard_ms]
        return text[: heard[-1]] if heard else ""
