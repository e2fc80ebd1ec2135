"""Identifies the client by a bearer key, in the header or, for browsers, as a WebSocket subprotocol."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REALTIME_SUBPROTOCOL = "realtime"
_KEY_SUBPROTOCOL = "openai-insecure-api-key."
ALL_SCOPES = frozenset({"call", "ingest", "read"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who opened a call or sent a request.

    Attributes:
        tenant: the tenant for which the client may act; None for all tenants, as with the single configured key.
        key_name: name of the presented key, for records; never the key itself.
        scopes: what the client may do: "call", "ingest" or "read".
    """

    tenant: str | None
    key_name: str
    scopes: frozenset[str]


class Access:
    """Identifies principals by the keys they present.

    Args:
        api_key: the key that clients must present; "" admits everybody, which the configuration allows only on
            loopback.
        key_name: name of the variable that holds the key.
    """

    def __init__(self, api_key: str, key_name: str = "") -> None:
        self._api_key = api_key.encode()
        self._principal = Principal(None, key_name or "loopback", ALL_SCOPES)

    def principal(self, headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> Principal | None:
        """Return the principal with these headers and subprotocols, or None if it is unknown."""
        if not self._api_key:
            return self._principal
        shown = [offered.removeprefix(_KEY_SUBPROTOCOL) for offered in subprotocols if _is_key(offered)]
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            shown.append(token.strip())
        is_known = any(hmac.compare_digest(key.encode(), self._api_key) for key in shown)
        return self._principal if is_known else None


def _is_key(subprotocol: str) -> bool:
    return subprotocol.startswith(_KEY_SUBPROTOCOL)
