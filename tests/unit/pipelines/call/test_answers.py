"""How a runner takes what an answerer gives, whole or not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipelines.ports import AnswerClause, AnswerEvent, AnswerFinished, Grounding
from pipelines.session.effects import StartAnswer
from pipelines.session.settings import Modality, SessionSettings
from tests.unit.transcripts.recording import ScriptedCall, windowed_cast
from tests.unit.transcripts.virtual_time import run_virtual

pytestmark = pytest.mark.unit

FINISHED = AnswerFinished(Grounding.MODEL, prompt_tokens=7, completion_tokens=5)


class GivenEvents:
    """An answerer that gives these events."""

    def __init__(self, *events: AnswerEvent) -> None:
        self._events = events

    async def answer(self, _order: StartAnswer) -> AsyncIterator[AnswerEvent]:
        for event in self._events:
            yield event


def response_to(*events: AnswerEvent, modality: Modality) -> tuple[dict[str, Any], int]:
    """Return how a response is done, and after how many ms, when the answerer gives `events`."""

    async def main() -> tuple[dict[str, Any], int]:
        cast = windowed_cast(answerer=GivenEvents(*events))
        call = ScriptedCall(cast, SessionSettings(modality=modality))
        call.send_text(json.dumps({"type": "response.create"}))
        await call.until_answered()
        await call.close()
        (done,) = [event for event in call.events if event["type"] == "response.done"]
        return done["response"], call.now_ms

    return run_virtual(main())


@pytest.mark.parametrize("modality", Modality)
def test_the_last_words_are_said_when_the_answerer_ends_without_saying_so(modality: Modality) -> None:
    response, elapsed_ms = response_to(AnswerClause("One, "), AnswerClause("two.", is_last=True), modality=modality)

    (part,) = response["output"][0]["content"]
    assert response["status"] == "completed"
    assert part.get("transcript", part.get("text")) == "One, two."
    assert elapsed_ms < 5_000


@pytest.mark.parametrize("events", [(), (AnswerClause("One."),)])
def test_a_response_ends_when_its_answer_does(events: tuple[AnswerEvent, ...]) -> None:
    response, elapsed_ms = response_to(*events, modality=Modality.TEXT)

    assert response["status"] == "completed"
    assert elapsed_ms < 5_000


def test_token_counts_come_with_the_end_of_the_answer() -> None:
    response, _ = response_to(AnswerClause("One.", is_last=True), FINISHED, modality=Modality.TEXT)

    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (7, 5)
