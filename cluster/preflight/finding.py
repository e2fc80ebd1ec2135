"""What a preflight looks at, and what it finds."""

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
        consequence: what would happen.
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
    """What the rules look at. Nothing is connected to.

    Attributes:
        config: the tree, which has passed its own checks.
        catalog: the models, and which of them are on this machine.
        environment: variables of this process.
        is_here: the replicas will run on this machine (a local cluster, or a node that checks itself): then models and
            secrets must be here. Else this is an operator's machine.
        is_port_free: whether a TCP port of this machine can be taken.
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
