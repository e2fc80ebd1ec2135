"""The pools that a cluster offers to its gateways, as configured. The offer may change during calls."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.config.section import Section
from pipelines.errors import Component


class PoolEntry(Section):
    """One pool as seen by gateways.

    Attributes:
        application, deployment: names of the pool in Ray Serve.
        model: name of its model, shown to clients.
        is_streaming: for recognisers, whether gateways link to them.
    """

    application: str
    deployment: str
    model: str
    is_streaming: bool = False


class PoolOffer(Section):
    """All pools by stage and name, and each stage's route for calls whose agent names none."""

    pools: Mapping[Component, Mapping[str, PoolEntry]]
    routes: Mapping[Component, tuple[str, ...]]
