"""Keeps the replicas' own gRPC servers on loopback.

With `RAY_SERVE_USE_GRPC_BY_DEFAULT` every replica serves calls from other replicas on `[::]:0`, without a password and
with pickled arguments, so whoever reaches the port can run code. Serve has no option for the address. Ray calls
`keep_on_loopback` in every worker before the actor is created, because the head's environment names it as the worker
set-up hook.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

SETUP_HOOK_VARIABLE = "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR"
SETUP_HOOK = "cluster.lifecycle.ray.loopback.keep_on_loopback"
_TLS_MODULE = "ray._common.tls_utils"
_REPLICA_MODULE = "ray.serve._private.replica"
_FUNCTION = "add_port_to_grpc_server"


def keep_on_loopback() -> None:
    """Make this process bind gRPC servers that ask for all interfaces to 127.0.0.1 instead.

    Does nothing on successive calls. Raises if Ray no longer has the function that it replaces, because a cluster must
    not start if it would listen more widely than promised.
    """
    import importlib

    tls = importlib.import_module(_TLS_MODULE)
    original: Callable[[Any, str], int] = getattr(tls, _FUNCTION)
    if getattr(original, "is_loopback_only", False):
        return

    def add_port(server: Any, address: str) -> int:
        return original(server, loopback_address(address))

    add_port.is_loopback_only = True  # type: ignore[attr-defined]  # so that it is not replaced twice
    setattr(tls, _FUNCTION, add_port)
    # Modules that have already imported the function by name keep their own reference.
    if _REPLICA_MODULE in sys.modules:
        setattr(sys.modules[_REPLICA_MODULE], _FUNCTION, add_port)


def loopback_address(address: str) -> str:
    """Return `address` with a wildcard host replaced by 127.0.0.1. Other addresses are unchanged."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("[::]", "0.0.0.0", "*", "") else address
