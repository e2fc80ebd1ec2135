"""Which pools a cluster offers to its gateways: told by the configuration, changed under calls in progress."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.config.section import Section
from pipelines.errors import Component


class PoolEntry(Section):
    """One pool as gateways find it.

    Attributes:
        application, deployment: its names in Ray Serve.
        model: name of its model, shown to clients.
        is_streaming: of recognisers: gateways are linked to them.
    """

    application: str
    deployment: str
    model: str
    is_streaming: bool = False


class PoolOffer(Section):
    """All pools by stage and name, and the route of each stage for the calls whose agent names none."""

    pools: Mapping[Component, Mapping[str, PoolEntry]]
    routes: Mapping[Component, tuple[str, ...]]
