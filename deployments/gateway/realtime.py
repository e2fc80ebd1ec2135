"""`/v1/realtime`: the OpenAI Realtime GA protocol over WebSocket."""

from __future__ import annotations

import logging
import time

from fastapi import APIRouter, WebSocket
from starlette.responses import JSONResponse

from deployments.gateway.access import REALTIME_SUBPROTOCOL, is_allowed
from deployments.gateway.call import Call
from deployments.gateway.service import GatewayService
from pipelines.errors import CapacityError

logger = logging.getLogger(__name__)
router = APIRouter()


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """Hold one call. Refuses before the handshake: 401 without the key, 503 with `Retry-After` when full."""
    service: GatewayService = websocket.app.state.service
    offered = websocket.scope.get("subprotocols") or []
    if not is_allowed(service.api_key, websocket.headers, offered):
        await _refuse(websocket, 401, "invalid_api_key", "Show the API key as a bearer token.")
        return
    try:
        with service.admission.admit():
            await websocket.accept(subprotocol=REALTIME_SUBPROTOCOL if REALTIME_SUBPROTOCOL in offered else None)
            await _hold(websocket, service)
    except CapacityError as error:
        service.metrics.refused_calls.inc()
        await _refuse(websocket, 503, "capacity", str(error))


async def _hold(websocket: WebSocket, service: GatewayService) -> None:
    session_id = service.new_session_id()
    call = Call(
        websocket,
        session_id,
        service.engines,
        service.call_settings,
        service.metrics,
        other_calls=service.admission.calls - 1,
    )
    service.live[session_id] = time.time()
    service.metrics.calls.inc()
    logger.info("= %s open (%d calls)", session_id, service.admission.calls)
    try:
        await call.run()
    finally:
        del service.live[session_id]
        service.metrics.calls.dec()
        logger.info("x %s closed", session_id)


async def _refuse(websocket: WebSocket, status: int, code: str, message: str) -> None:
    """Answer the upgrade request with an HTTP error (ASGI's websocket denial response)."""
    headers = {"Retry-After": "2"} if status == 503 else {}
    body = {"error": {"type": "invalid_request_error", "code": code, "message": message}}
    await websocket.send_denial_response(JSONResponse(body, status_code=status, headers=headers))
