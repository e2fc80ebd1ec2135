"""Conversation items: what was said and written, in order and identified by id."""

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
    """A spoken word. It begins `start_ms` into the item's audio and ends at offset `end_char` of the item's text."""

    end_char: int
    start_ms: int


@dataclass(frozen=True, slots=True)
class Item:
    """One conversation item. Items are replaced, never modified.

    Attributes:
        text: what was written, spoken (assistant) or recognised (user); None while recognition is in progress.
        is_audio: whether the content is audio (`input_audio` / `output_audio`) rather than text.
        audio_ms: length of the item's audio.
        heard_ms: for assistant audio that was cut off, how much of it the caller heard; otherwise None.
        words: the words of assistant audio, in order.
        call_id, name: set for function items only, whose `text` holds the arguments or the output.
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
        """The text up to the last word that had begun when the caller cut the item off."""
        text = self.text or ""
        if self.heard_ms is None:
            return text
        heard = [word.end_char for word in self.words if word.start_ms < self.heard_ms]
        return text[: heard[-1]] if heard else ""
