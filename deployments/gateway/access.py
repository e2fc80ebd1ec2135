"""Who may connect: a bearer key, in the header or (browsers) as a WebSocket subprotocol."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

REALTIME_SUBPROTOCOL = "realtime"
_KEY_SUBPROTOCOL = "openai-insecure-api-key."


def is_allowed(api_key: str, headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> bool:
    """Whether the client showed `api_key` (an empty one lets everybody in: loopback only, the configuration checks)."""
    if not api_key:
        return True
    shown = [subprotocol.removeprefix(_KEY_SUBPROTOCOL) for subprotocol in subprotocols if _is_key(subprotocol)]
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        shown.append(token.strip())
    return any(hmac.compare_digest(key.encode(), api_key.encode()) for key in shown)


def _is_key(subprotocol: str) -> bool:
    return subprotocol.startswith(_KEY_SUBPROTOCOL)
