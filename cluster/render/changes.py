"""Computes from two rendered configurations what deploying one does to a cluster that runs the other. Pure.

Serve replaces every replica of an application when the application's arguments change, and a deployment's replicas when
its actor options change. It applies the rest in place, which is why `serve_config` places settings as it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.render.placement import GATEWAY

# Keys of the whole application. A change of any of them replaces every replica.
_STRUCTURE = ("import_path", "args", "runtime_env", "route_prefix", "autoscaling_policy")
# Keys of a deployment with the same effect, because Serve includes them in the application's version.
_STRUCTURE_IN_DEPLOYMENTS = ("request_router_config", "deployment_actors")
_NO_APPLICATION: Mapping[str, Any] = {"deployments": ()}
# Keys that Serve reads only when it starts.
_AT_START = ("proxy_location", "http_options")


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one deployment ("replaced", "in place", "added" or "removed"), and the keys that cause it."""

    deployment: str
    effect: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything that a roll-out does.

    Attributes:
        deployments: the deployments that change, by name.
        keeps_calls: whether open calls stay where they are. Otherwise their gateways drain.
        leaving: applications of removed engine pools, for which the calls that hold them must end first.
        needs_restart: changed keys that Serve reads only when it starts.
    """

    deployments: tuple[Change, ...]
    keeps_calls: bool
    leaving: tuple[str, ...]
    needs_restart: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not self.deployments and not self.needs_restart


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """Return what deploying `new` does to a cluster that runs `old` (both rendered)."""
    before, after = _by_name(old["applications"]), _by_name(new["applications"])
    found = [
        change
        for name in dict.fromkeys([*before, *after])
        for change in _changes_of(before.get(name, _NO_APPLICATION), after.get(name, _NO_APPLICATION))
    ]
    return Changes(
        deployments=tuple(sorted(found, key=lambda change: change.deployment)),
        keeps_calls=not any(item.deployment == GATEWAY and item.effect != "in place" for item in found),
        leaving=tuple(name for name in before if name not in after),
        needs_restart=tuple(key for key in _AT_START if old.get(key) != new.get(key)),
    )


def _changes_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return what happens to the deployments of one application."""
    structure = (
        *(key for key in _STRUCTURE if before.get(key) != after.get(key)),
        *(key for key in _STRUCTURE_IN_DEPLOYMENTS if _set(before, key) != _set(after, key)),
        *(("policy",) if _policies(before) != _policies(after) else ()),
    )
    old, new = _by_name(before["deployments"]), _by_name(after["deployments"])
    changes = (_change(name, old.get(name), new.get(name), structure) for name in dict.fromkeys([*old, *new]))
    return [change for change in changes if change is not None]


def _by_name(items: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {item["name"]: item for item in items}


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
