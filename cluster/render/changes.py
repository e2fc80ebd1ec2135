"""What a new configuration would do to a cluster that runs another: pure, from two rendered configurations.

Serve replaces every replica when the application's arguments change, a deployment's replicas when its actor options
do, and applies the rest in place (`serve_config` says what stands where, for this reason).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Of the whole application: with any of them every replica is new.
_STRUCTURE = ("import_path", "args", "runtime_env", "route_prefix", "autoscaling_policy")
# The same, although they stand in a deployment: Serve counts them to the application's version.
_STRUCTURE_IN_DEPLOYMENTS = ("request_router_config", "deployment_actors")
# Serve takes them only when it starts.
_AT_START = ("proxy_location", "http_options")


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one deployment: "replaced", "in place", "added" or "removed"; and which keys say so."""

    deployment: str
    effect: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """All that a roll-out does.

    Attributes:
        deployments: those that change, by name.
        keeps_calls: open calls stay where they are; else their gateways drain.
        needs_restart: keys that Serve takes only at its start.
    """

    deployments: tuple[Change, ...]
    keeps_calls: bool
    needs_restart: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not self.deployments and not self.needs_restart


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """Return what deploying `new` does to a cluster that runs `old` (both rendered)."""
    before, after = old["applications"][0], new["applications"][0]
    structure = (
        *(key for key in _STRUCTURE if before.get(key) != after.get(key)),
        *(key for key in _STRUCTURE_IN_DEPLOYMENTS if _set(before, key) != _set(after, key)),
        *(("policy",) if _policies(before) != _policies(after) else ()),
    )
    found = [
        change
        for name in sorted({*_by_name(before), *_by_name(after)})
        if (change := _change(name, _by_name(before).get(name), _by_name(after).get(name), structure))
    ]
    return Changes(
        deployments=tuple(found),
        keeps_calls=not any(item.deployment == "Gateway" and item.effect != "in place" for item in found),
        needs_restart=tuple(key for key in _AT_START if old.get(key) != new.get(key)),
    )


def _by_name(application: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in application["deployments"]}


def _set(application: Mapping[str, Any], key: str) -> list[Any]:
    return [item[key] for item in application["deployments"] if item.get(key)]


def _policies(application: Mapping[str, Any]) -> list[Any]:
    return [scaling["policy"] for scaling in _set(application, "autoscaling_config") if scaling.get("policy")]


def _change(
    name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, structure: tuple[str, ...]
) -> Change | None:
    if old is None or new is None:
        return Change(name, "added" if old is None else "removed", ())
    if structure:
        return Change(name, "replaced", structure)
    keys = tuple(sorted(key for key in {*old, *new} if old.get(key) != new.get(key)))
    if not keys:
        return None
    return Change(name, "replaced" if "ray_actor_options" in keys else "in place", keys)
