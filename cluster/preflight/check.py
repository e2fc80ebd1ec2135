"""Runs all rules of the preflight."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.catalog.catalog import ModelCatalog
from cluster.config.schema import VoxrayConfig
from cluster.preflight import addresses, machines, models, packages, secrets, times
from cluster.preflight.finding import Finding, Inspection, Rule
from cluster.services.ports import is_port_free
from pipelines.errors import ConfigError

RULES: tuple[Rule, ...] = (
    *times.RULES,
    *machines.RULES,
    *addresses.RULES,
    *secrets.RULES,
    *models.RULES,
    *packages.RULES,
)


def inspect(
    config: VoxrayConfig, environment: Mapping[str, str], *, is_here: bool, is_running: bool = False
) -> list[Finding]:
    """Return everything that would go wrong, in the order of the rules.

    Args:
        config: the tree.
        environment: environment variables of this process.
        is_here: whether the replicas will run on this machine, so that models and secrets must be on it.
        is_running: whether the cluster is already running, so that its ports are taken by the cluster itself.
    """
    catalog = ModelCatalog.load(config, environment)
    inspection = Inspection(config, catalog, environment, is_here, (lambda _: True) if is_running else is_port_free)
    return [finding for rule in RULES for finding in rule(inspection)]


def refuse(findings: list[Finding]) -> None:
    """Raise if there are any findings.

    Raises:
        ConfigError: there are findings. The message names each with its fix.
    """
    if not findings:
        return
    lines = [f"  - {finding}" for finding in findings]
    raise ConfigError("\n".join([f"{len(findings)} findings of the preflight; nothing was changed:", *lines]))
