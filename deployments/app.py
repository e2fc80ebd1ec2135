"""The gateways' application at a glance:

    client ── WebSocket ── Gateway ──┬── transcriber pools     whole utterances, growing while the caller speaks; or of
                                     │                         engines that stream, all calls' audio a tick
                                     ├── retriever pools       one question, a few passages
                                     ├── language-model pools  a prompt in, clauses out
                                     └── synthesizer pools     a clause in, audio out

Audio frames stay in the gateway's process (voice activity, turn ends, the session core). Only utterances, questions and
clauses cross a hop. Each pool is a separate application (`deployments.pool_app`), so that one can be added, changed or
removed while the others and the gateways keep running. Replica counts and resources are in the rendered Serve
configuration (`cluster.render.serve_config`), where an operator can change them in place.
"""

from __future__ import annotations

from typing import Any

from ray import serve

from cluster.config.parts import GatewayPart
from deployments.gateway.deployment import Gateway


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application.

    Args:
        args: `part` is a `GatewayPart` as plain data. Other keys only make Serve see a different application.
    """
    part = GatewayPart.model_validate(args["part"])
    return serve.deployment(name="Gateway")(serve.ingress(None)(Gateway)).bind(part)
