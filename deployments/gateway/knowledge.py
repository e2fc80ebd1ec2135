"""REST for live updates: puts or deletes single documents and erases persons within seconds, alongside any reindex.

A request is written to the collection's change log (a Redis stream) and answered with 202 and the change's id. The
follower (`voxray ingest follow`) applies it, and `GET /v1/knowledge/changes/ID` reports the outcome. Programs that can
write to Redis may use the stream directly; see `deployments/stores/change_log.py`.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, Field

from cluster.config.environment import process_environment, secret
from cluster.config.parts import GatewayPart
from deployments.gateway.rest import Caller, Service
from deployments.stores.change_log import (
    MAX_TEXT_CHARS,
    DocumentChange,
    fields_of,
    receipt_key,
    state_key,
    stream_key,
)
from deployments.stores.redis import connect_async, redis_errors

_DATE = r"^(\d{4}-\d{2}-\d{2}([T ].*)?)?$"
_CHANGE_ID = re.compile(r"\d{1,20}-\d{1,20}")
_MAX_ID_CHARS = 250


class ChangeFeed:
    """Writes to one collection's change log from an event loop. Connects on first use."""

    def __init__(self, redis_url: str, password: str, *, alias: str) -> None:
        self._redis = connect_async(redis_url, password)
        self._alias = alias

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def append(self, change: DocumentChange) -> str:
        """Record a change and return its id.

        Raises:
            EngineError: Redis cannot be reached (retryable).
        """
        with redis_errors():
            return str(await self._redis.xadd(stream_key(self._alias), cast("dict[Any, Any]", fields_of(change))))

    async def state(self, change_id: str) -> tuple[str, dict[str, Any] | None] | None:
        """Return a change's state ("queued", or the follower's report) and the receipt of an erasure."""
        with redis_errors():
            state = await self._redis.get(state_key(self._alias, change_id))
            if state is None:
                waiting = await self._redis.xrange(stream_key(self._alias), change_id, change_id)
                return ("queued", None) if waiting else None
            receipt = await self._redis.get(receipt_key(self._alias, change_id))
        return str(state), json.loads(receipt) if receipt else None


def change_feed(part: GatewayPart) -> ChangeFeed:
    """Return the feed of the configured collection."""
    password = secret(process_environment(), part.redis_password_env, needed_by="services.redis.password_env")
    return ChangeFeed(part.redis_url, password, alias=part.milvus_alias)


def feed_of(request: Request) -> ChangeFeed:
    feed: ChangeFeed | None = request.app.state.change_feed
    if feed is None:
        raise HTTPException(503, "This gateway has no Redis and therefore accepts no live updates.")
    return feed


def tenant_of(service: Service, caller: Caller) -> str:
    """Return the tenant that a request acts for: the principal's, or the default agent's for a key of all tenants."""
    return caller.tenant or service.agents.find("", tenant=None).tenant


Feed = Annotated[ChangeFeed, Depends(feed_of)]
Tenant = Annotated[str, Depends(tenant_of)]
router = APIRouter(prefix="/v1/knowledge")


class DocumentIn(BaseModel):
    """A document. `text` is Markdown, `subject` is the person it is about, and dates are YYYY-MM-DD.

    `fields` are those that the tenant's dataset declares. A value of the wrong type causes the change to be refused.
    """

    title: str = Field(default="", max_length=500)
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    subject: str = Field(default="", max_length=200)
    updated_at: str = Field(default="", pattern=_DATE)
    expires_at: str = Field(default="", pattern=_DATE)
    fields: dict[str, str | float | bool] = Field(default={}, max_length=8)


class ErasureIn(BaseModel):
    subject: str = Field(min_length=1, max_length=200)


@router.put("/documents/{document_id:path}", status_code=202)
async def put_document(document_id: str, body: DocumentIn, tenant: Tenant, feed: Feed) -> dict[str, str]:
    """Add a document, or replace the one with this id, whichever source it came from."""
    fields = json.dumps(body.fields) if body.fields else ""
    plain = body.model_dump(exclude={"fields"})
    change = DocumentChange(tenant, _checked(document_id), "put", **plain, fields=fields)
    return {"change": await feed.append(change), "state": "queued"}


@router.delete("/documents/{document_id:path}", status_code=202)
async def delete_document(document_id: str, tenant: Tenant, feed: Feed) -> dict[str, str]:
    """Remove a document. If a source still contains it, it stays removed until the source's content changes."""
    return {
        "change": await feed.append(DocumentChange(tenant, _checked(document_id), "delete")),
        "state": "queued",
    }


@router.post("/erasures", status_code=202)
async def erase_person(body: ErasureIn, tenant: Tenant, feed: Feed) -> dict[str, str]:
    """Erase a person's documents everywhere. When that is done, the change's state holds the receipt."""
    change = DocumentChange(tenant, "", "erase", subject=body.subject)
    return {"change": await feed.append(change), "state": "queued"}


@router.get("/changes/{change_id}")
async def change_state(change_id: str, _caller: Caller, feed: Feed) -> dict[str, Any]:
    """Report the state of a change. States are kept for a day."""
    found = await feed.state(change_id) if _CHANGE_ID.fullmatch(change_id) else None
    if found is None:
        raise HTTPException(404, "There is no such change, or it is older than a day.")
    state, receipt = found
    return {"change": change_id, "state": state, **({"receipt": receipt} if receipt else {})}


def _checked(document_id: str) -> str:
    if not document_id.strip() or len(document_id) > _MAX_ID_CHARS or not document_id.isprintable():
        raise HTTPException(400, f"A document's id is 1 to {_MAX_ID_CHARS} printable characters.")
    return document_id
