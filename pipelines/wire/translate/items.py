"""Converts conversation items between the shapes of the wire and the core's `Item`."""

from __future__ import annotations

from typing import Final, Literal

from pipelines.session.items import Item, ItemKind, ItemStatus, Role
from pipelines.wire.item_shapes import (
    AssistantMessage,
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    ItemShape,
    OutputAudio,
    SystemMessage,
    UserMessage,
)
from pipelines.wire.payloads import (
    AudioContent,
    FunctionCallItem,
    FunctionCallOutputItem,
    ItemPayload,
    MessageItem,
    TextContent,
)

# Nobody said function items. As the user's they would be part of the question, and as the assistant's an answer that
# was heard.
_NO_SPEAKER: Final = Role.SYSTEM


def item_from_wire(shape: ItemShape) -> Item:
    """Return the core's item. Its `id` is "" if the client gave none, and the core then assigns one.

    Several content parts become one text, with one line each. Audio is represented by its transcript.
    """
    item_id, status = shape.id or "", ItemStatus(shape.status or "completed")
    if isinstance(shape, FunctionCall):
        return Item(
            item_id,
            _NO_SPEAKER,
            ItemKind.FUNCTION_CALL,
            shape.arguments,
            status=status,
            call_id=shape.call_id or "",
            name=shape.name,
        )
    if isinstance(shape, FunctionCallOutput):
        kind = ItemKind.FUNCTION_CALL_OUTPUT
        return Item(item_id, _NO_SPEAKER, kind, shape.output, status=status, call_id=shape.call_id)
    text, is_audio = _message_text(shape)
    return Item(item_id, Role(shape.role), text=text, is_audio=is_audio, status=status)


def _message_text(shape: SystemMessage | UserMessage | AssistantMessage) -> tuple[str, bool]:
    lines, is_audio = [], False
    for part in shape.content:
        if isinstance(part, InputAudio | OutputAudio):
            is_audio = True
            lines.append(part.transcript)
        else:
            lines.append(part.text)
    return "\n".join(lines), is_audio


def item_to_wire(item: Item) -> ItemPayload:
    """Return the item in the protocol's shape. A spoken item that was cut off shows only what the caller heard."""
    status = item.status.value
    if item.kind is ItemKind.FUNCTION_CALL:
        return FunctionCallItem(
            id=item.id, status=status, name=item.name, call_id=item.call_id, arguments=item.text or ""
        )
    if item.kind is ItemKind.FUNCTION_CALL_OUTPUT:
        return FunctionCallOutputItem(id=item.id, status=status, call_id=item.call_id, output=item.text or "")
    return MessageItem(id=item.id, status=status, role=item.role.value, content=(_content(item),))


def _content(item: Item) -> TextContent | AudioContent:
    is_output = item.role is Role.ASSISTANT
    if not item.is_audio:
        text_type: Literal["input_text", "output_text"] = "output_text" if is_output else "input_text"
        return TextContent(text_type, item.text or "")
    if is_output:
        return AudioContent("output_audio", item.heard_text)
    return AudioContent("input_audio", item.text)
