"""The ASGI application, the same under Ray Serve, under plain uvicorn and in tests."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from deployments.gateway import knowledge, realtime, rest
from deployments.gateway.knowledge import ChangeFeed
from deployments.gateway.service import GatewayService
from pipelines.agents.directory import UnknownAgentError
from pipelines.errors import CapacityError, EngineError

OpenService = Callable[[], AbstractAsyncContextManager[GatewayService]]


def create_app(open_service: OpenService, change_feed: ChangeFeed | None = None) -> FastAPI:
    """Create the application. `open_service` is entered at start on the serving event loop, and left at the end.

    `change_feed` takes live updates of the knowledge and is closed at the end. With None, updates are refused.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service() as service:
            app.state.service = service
            _tame_garbage_collection()
            try:
                yield
            finally:
                if change_feed is not None:
                    await change_feed.aclose()

    app = FastAPI(title="Voxray", version="1", lifespan=lifespan)
    app.state.change_feed = change_feed
    app.include_router(realtime.router)
    app.include_router(rest.open_router)
    app.include_router(rest.router)
    app.include_router(knowledge.router)
    app.add_exception_handler(EngineError, _engine_failed)
    app.add_exception_handler(CapacityError, _full)
    app.add_exception_handler(UnknownAgentError, _no_agent)
    return app


def _tame_garbage_collection() -> None:
    """Exclude imported objects from garbage collection, and collect less often.

    A full collection visits all objects of all libraries, and stops the loop and thus every call for tens of ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def _engine_failed(_request: Request, error: Exception) -> JSONResponse:
    engine = error.engine.label if isinstance(error, EngineError) else "engine"
    body = {"error": {"type": "server_error", "code": "engine_failed", "message": f"The {engine} failed; try again."}}
    return JSONResponse(body, status_code=503, headers={"Retry-After": "2"})


async def _no_agent(_request: Request, error: Exception) -> JSONResponse:
    body = {"error": {"type": "invalid_request_error", "code": "model_not_found", "message": str(error)}}
    return JSONResponse(body, status_code=404)


async def _full(_request: Request, error: Exception) -> JSONResponse:
    body = {"error": {"type": "server_error", "code": "capacity", "message": str(error)}}
    return JSONResponse(body, status_code=503, headers={"Retry-After": "2"})
