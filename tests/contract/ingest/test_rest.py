"""Live updates over REST: written to the stream, applied by the follower, and told what became of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from cluster.config.paths import SAMPLE_AGENTS
from deployments.gateway.access import Access
from deployments.gateway.knowledge import ChangeFeed, router
from deployments.stores.agent_files import FileAgents
from ingest_jobs.knowledge.operate.follow import Follower
from tests.contract.ingest.workshop import TABLE, CountingEncoder, Workshop

pytestmark = pytest.mark.contract

KEY = {"Authorization": "Bearer right"}


@pytest.fixture
async def client(workshop: Workshop) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(router)
    agents = FileAgents(SAMPLE_AGENTS, "")
    agents.refresh()
    app.state.service = SimpleNamespace(access=Access("right"), agents=agents)
    app.state.change_feed = ChangeFeed(workshop.redis_url, "", alias=workshop.alias)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=KEY) as opened:
        yield opened
    await app.state.change_feed.aclose()


def follow(workshop: Workshop) -> None:
    follower = Follower(workshop.request(), CountingEncoder())
    follower.apply_waiting()
    follower.close()


async def test_document_is_put_and_deleted_over_rest(workshop: Workshop, client: httpx.AsyncClient) -> None:
    workshop.write_notes(3)
    workshop.run()
    answer = await client.put("/v1/knowledge/documents/news/2026/1", json={"title": "News", "text": "We open at nine."})
    assert answer.status_code == 202
    change = answer.json()["change"]
    assert (await client.get(f"/v1/knowledge/changes/{change}")).json()["state"] == "queued"
    follow(workshop)
    assert (await client.get(f"/v1/knowledge/changes/{change}")).json() == {"change": change, "state": "applied"}
    assert "news/2026/1" in workshop.docs()
    await client.delete("/v1/knowledge/documents/news/2026/1")
    follow(workshop)
    assert "news/2026/1" not in workshop.docs()


async def test_person_is_erased_over_rest_and_the_receipt_is_given(
    workshop: Workshop, client: httpx.AsyncClient
) -> None:
    workshop.describe(TABLE)
    workshop.write_people([("1", "ann", "Ann wrote."), ("2", "ben", "Ben wrote.")])
    workshop.run()
    change = (await client.post("/v1/knowledge/erasures", json={"subject": "ann"})).json()["change"]
    follow(workshop)
    answer = (await client.get(f"/v1/knowledge/changes/{change}")).json()
    assert answer["state"] == "applied"
    assert set(answer["receipt"]["remaining"].values()) == {0}
    assert workshop.texts() == {"Ben wrote."}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/documents/x", {"text": ""}, 422),
        ("PUT", "/documents/x", {"text": "y", "expires_at": "soon"}, 422),
        ("PUT", "/documents/" + "x" * 251, {"text": "y"}, 400),
        ("PUT", "/documents/a%00b", {"text": "y"}, 400),
        ("POST", "/erasures", {"subject": ""}, 422),
        ("GET", "/changes/1-1", None, 404),
        ("GET", "/changes/none", None, 404),
    ],
)
async def test_wrong_request_is_refused(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, str] | None, status: int
) -> None:
    assert (await client.request(method, f"/v1/knowledge{path}", json=body)).status_code == status


async def test_caller_without_the_key_is_refused(client: httpx.AsyncClient) -> None:
    for method, path in (("DELETE", "/documents/x"), ("GET", "/changes/1-1")):
        answer = await client.request(method, f"/v1/knowledge{path}", headers={"Authorization": "Bearer wrong"})
        assert answer.status_code == 401
