"""Checks whether optional parts of the installation, the extras of pyproject.toml, are installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement

from pipelines.errors import VoxrayError

DISTRIBUTION = "voxray"


class ExtraMissing(VoxrayError):
    """A requested feature needs packages that are not installed."""


def missing_packages(*extras: str) -> list[str]:
    """Return the packages of these extras that are not installed, ignoring versions."""
    return _not_installed(metadata.requires(DISTRIBUTION) or (), extras)


def require_extras(*extras: str, needed_by: str) -> None:
    """Raise unless all packages of these extras are installed.

    Args:
        extras: names of extras in pyproject.toml.
        needed_by: what needs them in the user's terms: a command, or a key with its value.

    Raises:
        ExtraMissing: some are missing. The message says how to install them.
    """
    if missing := missing_packages(*extras):
        raise ExtraMissing(
            f"{needed_by} needs packages that are not installed ({', '.join(missing)}). {how_to_install(*extras)}"
        )


def how_to_install(*extras: str) -> str:
    """Return the sentence that tells how to install the packages of these extras."""
    return f"`make develop` installs them; elsewhere: pip install 'voxray[{','.join(extras)}]'"


def _not_installed(requirements: Iterable[str], extras: Iterable[str]) -> list[str]:
    wanted = set(extras)
    missing: list[str] = []
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        # Requirements without an extra are part of every installation.
        if marker is None or marker.evaluate({"extra": ""}):
            continue
        if not any(marker.evaluate({"extra": extra}) for extra in wanted):
            continue
        try:
            metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            missing.append(requirement.name)
    return sorted(set(missing))
