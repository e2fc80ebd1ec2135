"""`/v1/realtime`: the OpenAI Realtime GA protocol over WebSocket."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from fastapi import APIRouter, WebSocket
from starlette.responses import JSONResponse

from deployments.gateway.access import REALTIME_SUBPROTOCOL, Principal
from deployments.gateway.call import Call, CallParty
from deployments.gateway.service import GatewayService
from pipelines.agents.definition import Agent
from pipelines.agents.directory import AgentDirectory, UnknownAgentError
from pipelines.errors import CapacityError

logger = logging.getLogger(__name__)
router = APIRouter()

# Stock clients that must name a model use this name for the default agent.
DEFAULT_MODEL = "voxray"


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """Serve one call.

    Refusals happen before the handshake: 401 without the key, 404 for an unknown agent, and 503 with `Retry-After` when
    there is no room.
    """
    service: GatewayService = websocket.app.state.service
    offered = websocket.scope.get("subprotocols") or []
    principal = service.access.principal(websocket.headers, offered)
    if principal is None:
        await _refuse(websocket, 401, "invalid_api_key", "Show the API key as a bearer token.")
        return
    try:
        agent = agent_for(service.agents, principal, websocket.query_params)
        with service.admission.admit(), service.hold(agent) as held:
            await websocket.accept(subprotocol=REALTIME_SUBPROTOCOL if REALTIME_SUBPROTOCOL in offered else None)
            await _hold(websocket, service, CallParty(agent, principal, held))
    except UnknownAgentError as error:
        await _refuse(websocket, 404, "model_not_found", str(error))
    except CapacityError as error:
        service.metrics.refused_calls.inc()
        await _refuse(websocket, 503, "capacity", str(error))


def agent_for(agents: AgentDirectory, principal: Principal, query: Mapping[str, str]) -> Agent:
    """Return the agent named by a call's URL: `agent=NAME`, else `model=NAME`, else (or for `voxray`) the default.

    Raises:
        UnknownAgentError: no agent of this name exists.
    """
    name = query.get("agent") or query.get("model", "")
    return agents.find("" if name == DEFAULT_MODEL else name, tenant=principal.tenant)


async def _hold(websocket: WebSocket, service: GatewayService, party: CallParty) -> None:
    session_id = service.new_session_id()
    call = Call(
        websocket,
        session_id,
        party,
        service.call_settings,
        service.metrics,
        other_calls=service.admission.calls - 1,
    )
    service.live[session_id] = time.time()
    service.metrics.calls.inc()
    agent = party.agent
    logger.info("= %s open with %s %s (%d calls)", session_id, agent.name, agent.version, service.admission.calls)
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
