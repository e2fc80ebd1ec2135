"""Inserts, reads, truncates and deletes the conversation's items, and selects those from which an answer is made."""

from __future__ import annotations

from dataclasses import replace

from pipelines.session.change import Change
from pipelines.session.effects import ItemAdded, ItemDeleted, ItemRetrieved, ItemTruncated, Line
from pipelines.session.items import Item, ItemKind, ItemStatus, Role
from pipelines.session.stimuli import (
    ItemCreateRequested,
    ItemDeleteRequested,
    ItemRetrieveRequested,
    ItemTruncateRequested,
)

ROOT = "root"
HISTORY_LINES = 6
MAX_ITEMS = 2_000


def index_of(items: list[Item], item_id: str) -> int | None:
    """Return an item's position, searching from the end because recent items are requested most often."""
    for index in range(len(items) - 1, -1, -1):
        if items[index].id == item_id:
            return index
    return None


def append(change: Change, item: Item) -> str | None:
    """Add an item at the end and return the id of the item before it."""
    items = change.state.items
    previous = items[-1].id if items else None
    items.append(item)
    return previous


def put(change: Change, item: Item) -> None:
    """Replace the item with the same id. Does nothing if the client has deleted it meanwhile."""
    index = index_of(change.state.items, item.id)
    if index is not None:
        change.state.items[index] = item


def create(change: Change, request: ItemCreateRequested) -> None:
    """Insert a client's item."""
    items, item = change.state.items, request.item
    if item.id and index_of(items, item.id) is not None:
        message = f"Item '{item.id}' exists already."
        change.refuse("item_create_duplicate_id", message, param="item.id", event_id=request.event_id)
        return
    if len(items) >= MAX_ITEMS:
        change.refuse("conversation_full", f"A conversation holds {MAX_ITEMS} items.", event_id=request.event_id)
        return
    position = _position_after(items, request.previous_item_id)
    if position is None:
        code = "item_create_invalid_previous_item_id"
        message = f"Previous item '{request.previous_item_id}' is not in the conversation."
        change.refuse(code, message, param="previous_item_id", event_id=request.event_id)
        return
    item = item if item.id else replace(item, id=change.new_item_id())
    items.insert(position, item)
    change.emit(ItemAdded(item, items[position - 1].id if position else None))


def retrieve(change: Change, request: ItemRetrieveRequested) -> None:
    """Send the client an item as the server has it."""
    index = index_of(change.state.items, request.item_id)
    if index is None:
        _refuse_unknown(change, "item_retrieve_invalid_item_id", request.item_id, request.event_id)
        return
    change.emit(ItemRetrieved(change.state.items[index]))


def truncate(change: Change, request: ItemTruncateRequested) -> None:
    """Cut an assistant item's audio to what the caller heard. The item must not be in progress."""
    index = index_of(change.state.items, request.item_id)
    if index is None:
        _refuse_unknown(change, "item_truncate_invalid_item_id", request.item_id, request.event_id)
        return
    item = change.state.items[index]
    if item.role is not Role.ASSISTANT or not item.is_audio or request.content_index != 0:
        message = "Only the audio content (index 0) of an assistant message can be truncated."
        change.refuse("item_truncate_invalid_item", message, param="item_id", event_id=request.event_id)
        return
    if request.audio_end_ms > item.audio_ms:
        message = f"Audio content of {item.audio_ms} ms is shorter than {request.audio_end_ms} ms."
        change.refuse("item_truncate_invalid_audio_end_ms", message, param="audio_end_ms", event_id=request.event_id)
        return
    change.state.items[index] = replace(item, heard_ms=request.audio_end_ms, status=ItemStatus.INCOMPLETE)
    change.state.playout_item_id = ""
    change.emit(ItemTruncated(item.id, request.content_index, request.audio_end_ms))


def delete(change: Change, request: ItemDeleteRequested) -> None:
    """Remove an item. A transcript still awaited for it is dropped when it arrives."""
    index = index_of(change.state.items, request.item_id)
    if index is None:
        _refuse_unknown(change, "item_delete_invalid_item_id", request.item_id, request.event_id)
        return
    del change.state.items[index]
    change.emit(ItemDeleted(request.item_id))


def question_and_history(items: list[Item], addition: str = "") -> tuple[str, tuple[Line, ...]]:
    """Split a conversation into the question to answer and what was said before it.

    The question is everything the caller has said since the agent was last heard, so that a turn split in two by a
    pause is answered as one.
    """
    first_open = 0
    for index in range(len(items) - 1, -1, -1):
        if items[index].role is Role.ASSISTANT and _is_message(items[index]) and items[index].heard_text.strip():
            first_open = index + 1
            break
    asked = [item.text or "" for item in items[first_open:] if item.role is Role.USER and _is_message(item)]
    question = " ".join(part.strip() for part in [*asked, addition] if part.strip())
    spoken = [
        Line(item.role, item.heard_text.strip())
        for item in items[:first_open]
        if _is_message(item) and item.role is not Role.SYSTEM and item.heard_text.strip()
    ]
    return question, tuple(spoken[-HISTORY_LINES:])


def _is_message(item: Item) -> bool:
    return item.kind is ItemKind.MESSAGE


def _position_after(items: list[Item], previous_item_id: str | None) -> int | None:
    if previous_item_id is None:
        return len(items)
    if previous_item_id == ROOT:
        return 0
    index = index_of(items, previous_item_id)
    return None if index is None else index + 1


def _refuse_unknown(change: Change, code: str, item_id: str, event_id: str | None) -> None:
    change.refuse(code, f"Item '{item_id}' is not in the conversation.", param="item_id", event_id=event_id)
