"""Chooses ports on loopback: the remembered port if it is still free, else the next free one.

Ports are scanned upwards from a start that depends on the state folder, below the kernel's ephemeral range. In that
range the kernel might give the port to an outgoing connection between our check and the service's bind, and the start
would fail.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping

from cluster.services.errors import ServiceError

FIRST_PORT = 20_000
LAST_PORT = 29_999
LOOPBACK = "127.0.0.1"


def is_port_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could bind `port` now (a socket in TIME_WAIT does not count as taken)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def is_port_open(port: int, host: str = LOOPBACK, timeout_s: float = 0.5) -> bool:
    """Return whether something accepts connections on `port`."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def choose_ports(
    names: Iterable[str],
    remembered: Mapping[str, int],
    seed: str,
    is_free: Callable[[int], bool] = is_port_free,
) -> dict[str, int]:
    """Return a distinct port for every name.

    Args:
        names: names that need a port, in the order in which ports are assigned from the lowest.
        remembered: ports of the last run, which are kept if still free.
        seed: at least four hexadecimal digits. Different seeds start the scan at different ports.
        is_free: returns whether a port can be bound.

    Raises:
        ServiceError: no free port is left in the range.
    """
    span = LAST_PORT - FIRST_PORT + 1
    start = int(seed[:4], 16) % (span // 16) * 16
    scan = (FIRST_PORT + (start + step) % span for step in range(span))
    chosen: dict[str, int] = {}
    wanted = list(names)
    taken = {remembered[name] for name in wanted if name in remembered}
    for name in wanted:
        port = remembered.get(name)
        if port is None or not is_free(port):
            port = next((p for p in scan if p not in taken and is_free(p)), None)
        if port is None:
            raise ServiceError(name, f"no free port on {LOOPBACK} between {FIRST_PORT} and {LAST_PORT}")
        taken.add(port)
        chosen[name] = port
    return chosen
