"""The gateways' application at a glance:

    client ── WebSocket ── Gateway ──┬── transcriber pools     whole utterances, growing while the caller speaks; or of
                                     │                         engines that stream, all calls' audio a tick
                                     ├── retriever pools       one question, a few passages
                                     ├── language-model pools  a prompt in, clauses out
                                     └── synthesizer pools     a clause in, audio out

Audio frames stay in the gateway's process (voice activity, turn ends, the session core). What crosses a hop is an
utterance, a question, a clause. Each pool is an application of its own (`deployments.pool_app`), so that one can be
added, changed or removed while the others, and the gateways, go on. The numbers (replicas, resources) are in the
rendered Serve configuration (`cluster.render.serve_config`), where an operator can change them in place.
"""

from __future__ import annotations

from typing import Any

from ray import serve

from cluster.config.parts import GatewayPart
from deployments.gateway.deployment import Gateway


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application.

    Args:
        args: `part`, a `GatewayPart` as plain data; what else is in it only makes the application another one.
    """
    part = GatewayPart.model_validate(args["part"])
    return serve.deployment(name="Gateway")(serve.ingress(None)(Gateway)).bind(part)
