"""Conversation items as a client may send them (`conversation.item.create`, `response.create` input)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.wire.session_object import WireModel

ItemId = Annotated[str, Field(min_length=1, max_length=128)]
Status = Literal["completed", "incomplete", "in_progress"]


class InputText(WireModel):
    type: Literal["input_text"]
    text: str


class InputAudio(WireModel):
    """Spoken input. Only its transcript is used, since audio arrives through the input audio buffer."""

    type: Literal["input_audio"]
    transcript: str


class OutputText(WireModel):
    type: Literal["output_text", "text"]
    text: str


class OutputAudio(WireModel):
    type: Literal["output_audio"]
    transcript: str


class SystemMessage(WireModel):
    type: Literal["message"]
    role: Literal["system"]
    content: list[InputText]
    id: ItemId | None = None
    status: Status | None = None


class UserMessage(WireModel):
    type: Literal["message"]
    role: Literal["user"]
    content: list[Annotated[InputText | InputAudio, Field(discriminator="type")]]
    id: ItemId | None = None
    status: Status | None = None


class AssistantMessage(WireModel):
    type: Literal["message"]
    role: Literal["assistant"]
    content: list[Annotated[OutputText | OutputAudio, Field(discriminator="type")]]
    id: ItemId | None = None
    status: Status | None = None


class FunctionCall(WireModel):
    type: Literal["function_call"]
    name: str
    arguments: str
    call_id: str | None = None
    id: ItemId | None = None
    status: Status | None = None


class FunctionCallOutput(WireModel):
    type: Literal["function_call_output"]
    call_id: str
    output: str
    id: ItemId | None = None
    status: Status | None = None


Message = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]
ItemShape = Annotated[Message | FunctionCall | FunctionCallOutput, Field(discriminator="type")]
