"""The input of the preflight and its findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cluster.catalog.catalog import ModelCatalog
from cluster.config.schema import VoxrayConfig


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that would go wrong.

    Attributes:
        rule: short name of the rule.
        problem: what is wrong, with the values.
        consequence: what would happen as a result.
        fix: what to change.
    """

    rule: str
    problem: str
    consequence: str
    fix: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.problem}. Then {self.consequence}. Fix: {self.fix}."


@dataclass(frozen=True, slots=True)
class Inspection:
    """The input of the rules, which connect to nothing.

    Attributes:
        config: the tree, which has passed its own checks.
        catalog: the models, including which of them are on this machine.
        environment: environment variables of this process.
        is_here: whether the replicas will run on this machine (a local cluster, or a node that checks itself), so that
            models and secrets must be here. Otherwise this is an operator's machine.
        is_port_free: tells whether a TCP port of this machine is free.
    """

    config: VoxrayConfig
    catalog: ModelCatalog
    environment: Mapping[str, str]
    is_here: bool
    is_port_free: Callable[[int], bool]

    @property
    def is_on_nodes(self) -> bool:
        """Whether the configuration is for a cluster of several machines."""
        return bool(self.config.topology.pools())


Rule = Callable[[Inspection], Iterator[Finding]]
