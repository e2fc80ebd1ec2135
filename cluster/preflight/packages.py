"""Checks whether the packages of the configured engines are installed."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.config.schema import VoxrayConfig
from cluster.config.uses import engine_uses
from cluster.preflight.extras import how_to_install, missing_packages, require_extras
from cluster.preflight.finding import Finding, Inspection, Rule

_BASE = "embedded"


def require_engine_packages(config: VoxrayConfig) -> None:
    """Raise unless every package of the configured engines is installed on this machine.

    Raises:
        ExtraMissing: some are missing. The message names the key and says how to install them.
    """
    for key, extra in _extras_of(config):
        require_extras(extra, needed_by=key)


def _extras_of(config: VoxrayConfig) -> Iterator[tuple[str, str]]:
    for use in engine_uses(config):
        # The engines of the embedded profile are part of every installation. GPU machines use other packages for them.
        if use.spec.extra not in ("", _BASE):
            yield f"{'.'.join(use.path)}.engine: {use.spec.name}", use.spec.extra


def _packages_are_here(inspection: Inspection) -> Iterator[Finding]:
    if not inspection.is_here:
        return
    for key, extra in _extras_of(inspection.config):
        if missing := missing_packages(extra):
            yield Finding(
                "packages",
                f"{key} needs packages that are not installed: {', '.join(missing)}",
                "no replica of it starts",
                how_to_install(extra),
            )


RULES: tuple[Rule, ...] = (_packages_are_here,)
