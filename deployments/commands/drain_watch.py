"""Prints how many calls are open on all gateways until none is left. It runs in the cluster as a job.

    python -m deployments.commands.drain_watch SECONDS [APPLICATION ...]

`voxray drain` uses it to wait for all calls. `voxray deploy` uses it to wait for the calls that hold an engine pool
(named by its application) that is about to be removed.

Only a process inside the cluster can ask every gateway, since the ingress passes a request to only one of them, the
least busy. The output has one JSON object per line: {"calls": 3, "gateways": 2}.
"""

from __future__ import annotations

import json
import sys
import time

import ray
from ray import serve

from cluster.render.placement import APPLICATION, GATEWAY

POLL_S = 1.0


def main() -> None:
    """Watch until no call is open, at most for the seconds given first. Exit code 1 means that calls are left."""
    deadline, pools = time.monotonic() + float(sys.argv[1]), sys.argv[2:] or [""]
    ray.init(log_to_driver=False, logging_level="ERROR")
    gateways = serve.get_deployment_handle(GATEWAY, APPLICATION)
    while True:
        calls: list[int] = [count for pool in pools for count in gateways.broadcast("open_calls", pool).results()]
        print(json.dumps({"calls": sum(calls), "gateways": len(calls) // len(pools)}), flush=True)  # noqa: T201 -- its only output
        if not sum(calls):
            return
        if time.monotonic() > deadline:
            sys.exit(1)
        time.sleep(POLL_S)  # noqa: TID251 -- gateways tell no one when a call ends


if __name__ == "__main__":
    main()
