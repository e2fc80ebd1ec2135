"""Questions as recordings, spoken by the cluster's own voice."""

from __future__ import annotations

import httpx

from cluster.caller.line import LineError
from cluster.caller.recording import Recording, recording_from


async def speak_question(http_url: str, text: str, api_key: str = "") -> Recording:
    """Synthesize a question through the REST API.

    Raises:
        LineError: the gateway does not answer, or refuses.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        async with httpx.AsyncClient(timeout=60, headers=headers) as client:
            response = await client.post(f"{http_url}/v1/audio/speech", json={"input": text})
            response.raise_for_status()
    except httpx.HTTPError as error:
        raise LineError(f"the question could not be synthesized: {error}") from None
    return recording_from(response.content)
