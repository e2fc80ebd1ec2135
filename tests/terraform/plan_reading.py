"""Reads a plan in JSON: planned resources, what is set though not known yet, and the statements of policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Planned:
    """A resource, or a data source that is read during apply, as it will be."""

    address: str
    type: str
    name: str
    key: str
    module: str
    after: dict[str, Any]
    unknown: dict[str, Any]

    def is_set(self, attribute: str) -> bool:
        """Whether the attribute has a value, or will have one that only AWS knows yet."""
        return self.after.get(attribute) not in (None, "", [], {}) or self.unknown.get(attribute) is True

    def __getitem__(self, attribute: str) -> Any:
        return self.after.get(attribute)


def resources(plan: dict[str, Any], *types: str) -> list[Planned]:
    """Return the planned resources (of these types); data sources are not among them."""
    return [each for each in _all(plan, "managed") if not types or each.type in types]


def one(plan: dict[str, Any], address: str) -> Planned:
    """Return the resource at this address, without the module's index."""
    found = [each for each in _all(plan, "managed") if each.address.replace("[0]", "") == address]
    assert len(found) == 1, f"{len(found)} resources at {address}"
    return found[0]


def _all(plan: dict[str, Any], mode: str) -> Iterator[Planned]:
    for change in plan["resource_changes"]:
        if change["mode"] == mode and change["change"]["after"] is not None:
            yield Planned(
                change["address"],
                change["type"],
                change["name"],
                str(change.get("index", "")),
                change.get("module_address", "").replace("[0]", "").removeprefix("module."),
                change["change"]["after"],
                change["change"]["after_unknown"],
            )


@dataclass(frozen=True)
class Statement:
    """One statement of a policy. Resources that are not known yet are ARNs of things to be made, never `*`."""

    policy: str
    effect: str
    actions: frozenset[str]
    resources: frozenset[str]
    principals: frozenset[str]
    has_condition: bool


def statements(plan: dict[str, Any]) -> list[Statement]:
    """Return the statements of every policy document: those read before the plan, and those that wait for apply."""
    known = [(r["address"], r["type"], r["values"]) for r in _prior_data(plan["prior_state"]["values"]["root_module"])]
    waiting = [(each.address, each.type, each.after) for each in _all(plan, "data")]
    return [
        _statement(address, raw)
        for address, kind, values in known + waiting
        if kind == "aws_iam_policy_document"
        for raw in values.get("statement") or ()
    ]


def _prior_data(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (r for r in module.get("resources", ()) if r["mode"] == "data")
    for child in module.get("child_modules", ()):
        yield from _prior_data(child)


def _statement(policy: str, raw: dict[str, Any]) -> Statement:
    return Statement(
        policy,
        raw.get("effect") or "Allow",
        frozenset(raw.get("actions") or ()),
        frozenset(r for r in raw.get("resources") or () if r),
        frozenset(i for p in raw.get("principals") or () for i in p.get("identifiers") or ("unknown",)),
        bool(raw.get("condition")),
    )
