"""How `voxray eval` asks: of a real gateway, in writing and by voice, and of engines in a child process."""

from __future__ import annotations

import pytest

from cluster.cli.measuring.asking import ask_in_child, ask_over_http
from cluster.cli.measuring.evaluate import report
from pipelines.answering.evaluation import evaluate
from pipelines.answering.scoring import EvalQuestion
from pipelines.errors import EngineError
from tests.contract.gateway.serving import QUESTION, RETURN_SENTENCE, serve_gateway

pytestmark = pytest.mark.contract

RETURNS = EvalQuestion("q1", "faq", QUESTION, (("thirty days",),))


@pytest.mark.parametrize("is_spoken", [False, True], ids=["written", "spoken"])
async def test_gateway_is_asked_and_its_answer_judged(is_spoken: bool) -> None:
    with serve_gateway() as gateway:
        async with ask_over_http(gateway.http_url, is_spoken=is_spoken) as ask:
            results = await evaluate([RETURNS], ask)
    assert results[0].answer == RETURN_SENTENCE
    assert report(results)["all"] == {
        "total": 1, "right": 1, "wrong": 0, "refused": 0, "right_share": 1.0, "wrong_share": 0.0, "refused_share": 0.0,
    }  # fmt: skip


async def test_gateway_that_refuses_or_is_gone_is_an_engine_error() -> None:
    with serve_gateway(api_key="secret") as gateway:
        async with ask_over_http(gateway.http_url, "wrong") as ask:
            with pytest.raises(EngineError):
                await ask(QUESTION)
    async with ask_over_http(gateway.http_url) as ask:
        with pytest.raises(EngineError):
            await ask(QUESTION)


async def test_child_that_ends_is_an_engine_error() -> None:
    async with ask_in_child(["--milvus", "http://127.0.0.1:1", "--encoder-dir", "nowhere"]) as ask:
        with pytest.raises(EngineError):
            await ask(QUESTION)
