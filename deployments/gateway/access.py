"""Who is calling: a bearer key, in the header or (browsers) as a WebSocket subprotocol."""

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
        tenant: for whom it may act; None for every tenant of the cluster, as the one configured key may.
        key_name: name of the key that was shown, for records; never the key.
        scopes: what it may do: "call", "ingest", "read".
    """

    tenant: str | None
    key_name: str
    scopes: frozenset[str]


class Access:
    """Tells principals by what they show.

    Args:
        api_key: the key that clients must show; "" lets everybody in (on loopback only, the configuration checks).
        key_name: name of the variable that holds it.
    """

    def __init__(self, api_key: str, key_name: str = "") -> None:
        self._api_key = api_key.encode()
        self._principal = Principal(None, key_name or "loopback", ALL_SCOPES)

    def principal(self, headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> Principal | None:
        """Return who shows these headers and subprotocols; None for nobody who is known."""
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
