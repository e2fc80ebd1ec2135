"""Whose call it is, on a real socket: the agent that the address names, and the version that a call keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from deployments.stores.agent_files import LOOK_S
from tests.contract.gateway.serving import QUESTION, ServedGateway, serve_gateway
from tests.contract.gateway.writing import ask

pytestmark = pytest.mark.contract


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "default", "The first agent cannot say.")
    write(tmp_path, "night", "The night agent cannot say.")
    return tmp_path


@pytest.fixture
def gateway(folder: Path) -> Iterator[ServedGateway]:
    with serve_gateway(lambda part: part.model_copy(update={"agents_folder": str(folder)})) as served:
        # Nothing is found, so that every answer is the agent's own refusal.
        served.engines.retriever.passages.clear()
        yield served


def write(folder: Path, name: str, refusal: str) -> None:
    (folder / f"{name}.yaml").write_text(f"company: Acme\nrefusal: {refusal}\n")


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("", "The first agent cannot say."),
        ("?model=voxray", "The first agent cannot say."),
        ("?agent=night", "The night agent cannot say."),
        ("?model=night", "The night agent cannot say."),
        ("?model=default&agent=night", "The night agent cannot say."),
    ],
)
async def test_agent_of_the_address_answers(gateway: ServedGateway, address: str, answer: str) -> None:
    async with connect(gateway.ws_url + address) as socket:
        assert await ask(socket, QUESTION) == answer


@pytest.mark.parametrize("address", ["?agent=nobody", "?model=gpt-realtime", "?agent=../night"])
async def test_unknown_agent_is_refused_before_the_handshake_and_those_there_are_listed(
    gateway: ServedGateway, address: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(gateway.ws_url + address)
    assert refused.value.response.status_code == 404
    error = json.loads(refused.value.response.body or b"")["error"]
    assert error["code"] == "model_not_found"
    assert error["message"].endswith("agents: default, night.")


async def test_changed_agent_answers_the_next_call_and_the_present_one_keeps_its_version(
    gateway: ServedGateway, folder: Path
) -> None:
    async with connect(gateway.ws_url) as present:
        assert await ask(present, QUESTION) == "The first agent cannot say."
        write(folder, "default", "Changed.")
        await until_answered(gateway, "", "Changed.")
        assert await ask(present, QUESTION) == "The first agent cannot say."


async def test_mistake_in_a_file_leaves_its_agent_as_it_was(
    gateway: ServedGateway, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "default.yaml").write_text("company: Acme\nrefuse: typo\n")
    write(folder, "night", "Changed.")
    await until_answered(gateway, "?agent=night", "Changed.")
    assert await answer_of(gateway, "") == "The first agent cannot say."
    assert "refuse" in caplog.text


async def test_agents_are_listed_as_models(gateway: ServedGateway) -> None:
    async with httpx.AsyncClient() as client:
        listed = (await client.get(f"{gateway.http_url}/v1/models")).json()["data"]
    assert {"default", "night"} <= {model["id"] for model in listed}


async def answer_of(gateway: ServedGateway, address: str) -> str:
    async with connect(gateway.ws_url + address) as socket:
        return await ask(socket, QUESTION)


async def until_answered(gateway: ServedGateway, address: str, answer: str) -> None:
    async with asyncio.timeout(60):
        while await answer_of(gateway, address) != answer:  # noqa: ASYNC110 - a folder gives no events
            await asyncio.sleep(LOOK_S / 4)  # noqa: TID251 - the same
